// Needs a GGUF for its vocabulary: EDGEREASON_TEST_MODEL names it, else these tests are skipped.
// What Python models do is tested in tests/test_host_engine.py; here is what they cannot see.
#include "host.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "check.h"

namespace edgereason {
namespace {

constexpr std::int32_t kSeqs = 4;
constexpr std::int32_t kEmbd = 2;

// Logits are the sum of the tokens of a sequence, everywhere.
struct Model {
  std::vector<float> logits;
  std::vector<std::vector<Token>> held = std::vector<std::vector<Token>>(kSeqs);
  std::int32_t num_vocab = 0;
  std::atomic<bool> inside = false;
  int sleep_ms = 0;
  bool* released = nullptr;
};

Model& Of(void* model) { return *static_cast<Model*>(model); }

Status Decode(void* pointer, const HostRows* rows, HostResults* results, std::string* why) {
  Model& model = Of(pointer);
  model.inside = true;
  if (model.sleep_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(model.sleep_ms));
  model.logits.clear();
  for (std::int32_t i = 0; i < rows->num_rows; ++i) {
    if (rows->tokens[i] == 13) {
      *why = "thirteen";
      return Status::kFailed;
    }
    auto& held = model.held[static_cast<std::size_t>(rows->seqs[i])];
    held.push_back(rows->tokens[i]);
    float sum = 0;
    for (const Token token : held) sum += static_cast<float>(token);
    if (rows->outputs[i] != 0) {
      model.logits.insert(model.logits.end(), static_cast<std::size_t>(model.num_vocab), sum);
    }
  }
  results->logits = model.logits.data();
  results->hidden = nullptr;
  model.inside = false;
  return Status::kOk;
}

Status Fork(void* pointer, SeqId from, SeqId to, Pos len, std::string* /*why*/) {
  auto& held = Of(pointer).held;
  const auto& source = held[static_cast<std::size_t>(from)];
  held[static_cast<std::size_t>(to)].assign(source.begin(), source.begin() + len);
  return Status::kOk;
}

Status Trim(void* pointer, SeqId seq, Pos len, std::string* /*why*/) {
  Of(pointer).held[static_cast<std::size_t>(seq)].resize(static_cast<std::size_t>(len));
  return Status::kOk;
}

void Release(void* pointer) {
  if (Of(pointer).released != nullptr) *Of(pointer).released = true;
  delete static_cast<Model*>(pointer);
}

constexpr HostCalls kCalls{.decode = Decode,
                           .fork = Fork,
                           .trim = Trim,
                           .save = nullptr,
                           .load = nullptr,
                           .set_threads = nullptr,
                           .release = Release};

struct Opened {
  std::unique_ptr<HostEngine> engine;
  Model* model = nullptr;
};

Opened Open() {
  const char* path = std::getenv("EDGEREASON_TEST_MODEL");
  if (path == nullptr || *path == '\0') SKIP("EDGEREASON_TEST_MODEL is not set");
  auto* model = new Model;
  model->num_vocab = static_cast<std::int32_t>(VocabFile(path).vocab().pieces.size());
  const EngineInfo info{.caps = kLogits | kFork | kTrim,
                        .num_vocab = model->num_vocab,
                        .num_embd = kEmbd,
                        .num_cells = 16,
                        .max_rows = 8,
                        .max_seqs = kSeqs};
  return {std::make_unique<HostEngine>(
              HostOptions{.info = info, .vocab_path = path, .model = model, .calls = &kCalls}),
          model};
}

std::vector<Row> Tokens(SeqId seq, Pos pos, const std::vector<Token>& tokens) {
  std::vector<Row> rows;
  for (const Token token : tokens) rows.push_back({.seq = seq, .pos = pos++, .token = token});
  rows.back().output = true;
  return rows;
}

TEST(LogitsAreReadInPlace) {
  const Opened opened = Open();
  CHECK(opened.engine->Decode(Tokens(0, 0, {1, 2, 3})) == Status::kOk);
  CHECK_EQ(opened.engine->Logits(2).data(), static_cast<const float*>(opened.model->logits.data()));
  CHECK_EQ(opened.engine->Logits(2).back(), 6.0F);
  CHECK(opened.engine->Logits(0).empty());
  CHECK(opened.engine->Hidden(2).empty());
}

TEST(ForksShareCells) {
  const Opened opened = Open();
  HostEngine& engine = *opened.engine;
  CHECK(engine.Decode(Tokens(0, 0, {1, 2, 3, 4, 5, 6, 7, 8})) == Status::kOk);
  for (SeqId seq = 1; seq < kSeqs; ++seq) CHECK(engine.Fork(0, seq, 8));
  for (SeqId seq = 0; seq < kSeqs; ++seq) {
    CHECK(engine.Decode(Tokens(seq, 8, {1, 1})) == Status::kOk);
  }
  CHECK(engine.Decode(Tokens(0, 10, {1})) == Status::kNoCells);
  engine.Drop(3);
  CHECK(engine.Decode(Tokens(0, 10, {1})) == Status::kOk);
  CHECK_EQ(engine.Logits(0).front(), 39.0F);
}

TEST(AFailedStepChangesNothing) {
  const Opened opened = Open();
  HostEngine& engine = *opened.engine;
  CHECK(engine.Decode(Tokens(0, 0, {1, 13})) == Status::kFailed);
  CHECK_EQ(engine.last_error(), std::string("thirteen"));
  CHECK(engine.Logits(1).empty());
  opened.model->held[0].clear();
  CHECK(engine.Decode(Tokens(0, 0, {4})) == Status::kOk);
  CHECK_EQ(engine.Logits(0).front(), 4.0F);
}

TEST(TheModelIsReleasedOnce) {
  bool released = false;
  {
    const Opened opened = Open();
    opened.model->released = &released;
  }
  CHECK(released);
}

// Last: no model of this process is called any more.
TEST(ClosingWaitsForAStepAndLetsNoneIn) {
  const Opened opened = Open();
  HostEngine& engine = *opened.engine;
  opened.model->sleep_ms = 100;
  Status status = Status::kFailed;
  std::thread thread([&] { status = engine.Decode(Tokens(0, 0, {1})); });
  while (!opened.model->inside) std::this_thread::yield();
  CloseHosts();
  CHECK(!opened.model->inside);
  thread.join();
  CHECK(status == Status::kOk);
  CHECK(engine.Decode(Tokens(0, 1, {1})) == Status::kFailed);
  CHECK_EQ(engine.last_error(), std::string("the process is ending"));
  CHECK(!engine.Fork(0, 1, 1));
  delete opened.model;  // the engine leaks it
}

}  // namespace
}  // namespace edgereason
