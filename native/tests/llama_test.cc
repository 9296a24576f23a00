// Needs a GGUF: EDGEREASON_TEST_MODEL names it, else these tests are skipped. The shared contract
// of engines is tested in tests/contract/test_engines.py; here is what only the llama engine does.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "llama_engine.h"

namespace edgereason {
namespace {

namespace fs = std::filesystem;

std::string Model() {
  const char* path = std::getenv("EDGEREASON_TEST_MODEL");
  if (path == nullptr || *path == '\0') SKIP("EDGEREASON_TEST_MODEL is not set");
  return path;
}

std::unique_ptr<LlamaEngine> Open(LlamaOptions options = {}) {
  options.path = Model();
  if (options.context == 0) options.context = 256;
  options.max_threads = 1;  // two that spin on a busy machine take ten times as long
  return std::make_unique<LlamaEngine>(options);
}

ErrorCode CodeOf(const LlamaOptions& options) {
  try {
    const LlamaEngine engine(options);
  } catch (const Error& error) {
    CHECK(std::string(error.what()).size() > 10);
    return error.code();
  }
  throw test::Failure("the engine opened");
}

std::vector<Row> RowsOf(const Engine& engine, SeqId seq, const std::string& text) {
  std::vector<Row> rows;
  for (const Token token : engine.Tokenize(text, false)) {
    rows.push_back({.seq = seq, .pos = static_cast<Pos>(rows.size()), .token = token});
  }
  return rows;
}

double Difference(std::span<const float> a, std::span<const float> b) {
  CHECK_EQ(a.size(), b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    most = std::max<double>(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return most;
}

Token Top(std::span<const float> logits) {
  return static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// A copy of the model's first bytes, with one byte changed if asked for.
class Damaged {
 public:
  Damaged(std::uintmax_t num_bytes, std::streamoff at = -1, char value = 0)
      : path_(fs::temp_directory_path() / ("edgereason-damaged-" + std::to_string(num_bytes) + "-" +
                                           std::to_string(at) + ".gguf")) {
    fs::copy_file(Model(), path_, fs::copy_options::overwrite_existing);
    fs::permissions(path_, fs::perms::owner_write, fs::perm_options::add);
    if (num_bytes > 0) fs::resize_file(path_, num_bytes);
    if (at < 0) return;
    std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file.put(value);
  }
  ~Damaged() { fs::remove(path_); }
  Damaged(const Damaged&) = delete;
  Damaged& operator=(const Damaged&) = delete;
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

TEST(WhatCannotBeOpenedSaysWhy) {
  CHECK_EQ(CodeOf({.path = "/nowhere.gguf"}), ErrorCode::kModelNotFound);
  CHECK_EQ(CodeOf({.path = "/"}), ErrorCode::kBundle);
  CHECK_EQ(CodeOf({.path = Model(), .max_seqs = 65}), ErrorCode::kUsage);
  CHECK_EQ(CodeOf({.path = Model(), .context = -1}), ErrorCode::kUsage);
}

TEST(TruncatedFilesAreRefused) {
  const auto size = fs::file_size(Model());
  for (const std::uintmax_t num_bytes :
       {std::uintmax_t{3}, std::uintmax_t{1000}, size / 2, size - 1}) {
    CHECK_EQ(CodeOf({.path = Damaged(num_bytes).path()}), ErrorCode::kBundle);
  }
}

TEST(TooLittleMemoryIsSeenBeforeLoading) {
  CHECK_EQ(CodeOf({.path = Model(), .context = 2'000'000'000}), ErrorCode::kMemoryLimit);
  CHECK_EQ(CodeOf({.path = Model(), .memory_limit = 50 << 20}), ErrorCode::kMemoryLimit);
}

TEST(GpuLayersNeedAGpu) {
  if (CodeOf({.path = Model(), .gpu_layers = 1}) != ErrorCode::kUnsupported) SKIP("has a GPU");
}

TEST(NoRoomChangesNothing) {
  const auto engine = Open();
  const std::int32_t num_cells = engine->info().num_cells;
  std::vector<Row> rows;
  for (Pos pos = 0; pos < num_cells - 2; ++pos) rows.push_back({.seq = 0, .pos = pos, .token = 1});
  CHECK_EQ(engine->Decode(rows), Status::kOk);
  const std::vector<Row> three = {{.seq = 1, .pos = 0, .token = 1},
                                  {.seq = 1, .pos = 1, .token = 1},
                                  {.seq = 1, .pos = 2, .token = 1, .output = true}};
  CHECK_EQ(engine->Decode(three), Status::kNoCells);
  CHECK(engine->Logits(2).empty());
  CHECK_EQ(engine->Decode(std::span(three).first(2)), Status::kOk);
  CHECK_EQ(engine->Decode(std::span(three).subspan(2)), Status::kNoCells);
  engine->Drop(0);
  CHECK_EQ(engine->Decode(std::span(three).subspan(2)), Status::kOk);
}

// Tokens and embeddings go to libllama apart; a step that has both must look like one.
TEST(TokensAndEmbeddingsInOneStep) {
  const auto engine = Open({.hidden = true});
  auto prompt = RowsOf(*engine, 0, "The capital of France is");
  prompt.back().output = true;
  CHECK_EQ(engine->Decode(prompt), Status::kOk);
  const auto last = static_cast<std::int32_t>(prompt.size()) - 1;
  const std::vector<float> state(engine->Hidden(last).begin(), engine->Hidden(last).end());
  CHECK_EQ(state.size(), engine->info().num_embd);
  const auto end = static_cast<Pos>(prompt.size());
  CHECK(engine->Fork(0, 1, end));
  CHECK(engine->Fork(0, 2, end));
  CHECK(engine->Fork(0, 3, end));

  const Row latent{.seq = 1, .pos = end, .embedding = state.data(), .output = true};
  const Row token{.seq = 2, .pos = end, .token = 7, .output = true};
  CHECK_EQ(engine->Decode({&latent, 1}), Status::kOk);
  const std::vector<float> latent_alone(engine->Logits(0).begin(), engine->Logits(0).end());
  CHECK_EQ(engine->Decode({&token, 1}), Status::kOk);
  const std::vector<float> token_alone(engine->Logits(0).begin(), engine->Logits(0).end());

  // Sequence 3 takes an embedding and a token in a row; the token must not overtake the embedding.
  const std::vector<Row> mixed = {{.seq = 3, .pos = end, .embedding = state.data(), .output = true},
                                  {.seq = 0, .pos = end, .token = 7, .output = true},
                                  {.seq = 3, .pos = end + 1, .token = 7, .output = true}};
  CHECK_EQ(engine->Decode(mixed), Status::kOk);
  CHECK(Difference(engine->Logits(0), latent_alone) < 1e-3);
  CHECK(Difference(engine->Logits(1), token_alone) < 1e-3);
  CHECK(Difference(engine->Logits(2), token_alone) > 1e-3);
  CHECK_EQ(engine->Hidden(2).size(), state.size());
}

TEST(AStepThatFailsInItsSecondPassTakesTheFirstBack) {
  const auto engine = Open();
  const std::int32_t num_cells = engine->info().num_cells;
  std::vector<Row> rows;
  for (Pos pos = 0; pos < num_cells - 1; ++pos) rows.push_back({.seq = 0, .pos = pos, .token = 1});
  CHECK_EQ(engine->Decode(rows), Status::kOk);
  const std::vector<float> state(static_cast<std::size_t>(engine->info().num_embd), 0.1F);
  const std::vector<Row> mixed = {{.seq = 1, .pos = 0, .token = 1, .output = true},
                                  {.seq = 1, .pos = 1, .embedding = state.data(), .output = true}};
  CHECK_EQ(engine->Decode(mixed), Status::kNoCells);
  CHECK(engine->Logits(0).empty());
  CHECK_EQ(engine->Decode(std::span(mixed).first(1)), Status::kOk);
}

TEST(SavedKvIsCheckedBeforeItIsLoaded) {
  const auto engine = Open();
  CHECK_EQ(engine->Decode(RowsOf(*engine, 0, "One two three")), Status::kOk);
  auto state = engine->Save(0);
  state[state.size() / 2] ^= 1;
  CHECK_THROWS(engine->Load(1, state), Error);
  state[state.size() / 2] ^= 1;
  CHECK_THROWS(engine->Load(1, std::span(state).first(10)), Error);
  CHECK_THROWS(engine->Load(1, std::span(state).first(state.size() - 1)), Error);
  const auto other = Open({.kv_type = KvType::kQ8_0});
  CHECK_THROWS(other->Load(1, state), Error);
  engine->Load(1, state);
  CHECK_THROWS(engine->Load(1, state), Error);  // not empty any more
}

TEST(KvCanBeSmaller) {
  const auto full = Open();
  const auto small = Open({.kv_type = KvType::kQ8_0});
  CHECK_NEAR(static_cast<double>(small->info().cell_bytes),
             static_cast<double>(full->info().cell_bytes) * 34 / 64, 1);
  auto rows = RowsOf(*full, 0, "The quick brown fox jumps over the lazy");
  rows.back().output = true;
  CHECK_EQ(full->Decode(rows), Status::kOk);
  CHECK_EQ(small->Decode(rows), Status::kOk);
  const auto last = static_cast<std::int32_t>(rows.size()) - 1;
  CHECK(Difference(full->Logits(last), small->Logits(last)) > 0);
  CHECK_EQ(full->vocab().Piece(Top(full->Logits(last))), " dog");
  CHECK_EQ(small->vocab().Piece(Top(small->Logits(last))), " dog");
}

TEST(MetadataIsThere) {
  const auto engine = Open();
  CHECK(!engine->Meta("general.architecture").value_or("").empty());
  CHECK(!engine->Meta("no.such.key").has_value());
}

}  // namespace
}  // namespace edgereason
