#include "edgereason/scripted.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "check.h"

namespace edgereason {
namespace {

ScriptedOptions Sums() {
  return {.rules = {{.after = "2+2=", .reply = "four."}, {.after = "<|im_start|>", .reply = "hi"}},
          .words = {"four", "fo"}};
}

// Appends `text` to `seq`; only the last row has output.
Status Feed(ScriptedEngine* engine, SeqId seq, const std::string& text) {
  std::vector<Row> rows;
  auto pos = static_cast<Pos>(engine->Tokenize(engine->Text(seq), true).size());
  for (const Token token : engine->Tokenize(text, true)) {
    rows.push_back({.seq = seq, .pos = pos++, .token = token});
  }
  rows.back().output = true;
  return engine->Decode(rows);
}

Token Top(const ScriptedEngine& engine, std::int32_t row) {
  const auto logits = engine.Logits(row);
  return static_cast<Token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// Goes on greedily from the row `row` of the last step until the end token or `limit` tokens.
std::string Continue(ScriptedEngine* engine, SeqId seq, Pos pos, std::int32_t row, int limit = 20) {
  std::string text;
  for (int i = 0; i < limit; ++i) {
    const Token token = Top(*engine, row);
    if (engine->vocab().Ends(token)) return text;
    text += engine->vocab().Piece(token);
    const Row next{.seq = seq, .pos = pos++, .token = token, .output = true};
    CHECK_EQ(engine->Decode({&next, 1}), Status::kOk);
    row = 0;
  }
  return text + "...";
}

TEST(TokenizesTheLongestPieceFirst) {
  ScriptedEngine engine(Sums());
  CHECK_EQ(engine.Tokenize("four", false).size(), 1);
  CHECK_EQ(engine.Tokenize("fou", false).size(), 2);  // "fo" and "u"
  CHECK_EQ(engine.Tokenize("<|im_end|>", true).size(), 1);
  CHECK_EQ(engine.Tokenize("<|im_end|>", false).size(), 10);
  CHECK_THROWS(engine.Tokenize("\xFF", false), Error);
}

TEST(RepliesAndEnds) {
  ScriptedEngine engine(Sums());
  CHECK_EQ(Feed(&engine, 0, "2+2="), Status::kOk);
  CHECK_EQ(Continue(&engine, 0, 4, 3), "four.");
}

TEST(TheLatestRuleIsInForce) {
  ScriptedEngine engine(Sums());
  CHECK_EQ(Feed(&engine, 0, "2+2=<|im_start|>"), Status::kOk);
  CHECK_EQ(Continue(&engine, 0, 5, 4), "hi");
}

TEST(GoesOnFromTheMiddleOfAReply) {
  ScriptedEngine engine(Sums());
  CHECK_EQ(Feed(&engine, 0, "2+2=fou"), Status::kOk);
  CHECK_EQ(Continue(&engine, 0, 6, 5), "r.");
}

TEST(WithoutARuleLogitsFollowFromAllTokens) {
  ScriptedEngine engine(Sums());
  const auto logits_after = [&](const std::string& text) {
    engine.Drop(0);
    CHECK_EQ(Feed(&engine, 0, text), Status::kOk);
    const auto logits = engine.Logits(static_cast<std::int32_t>(text.size()) - 1);
    return std::vector<float>(logits.begin(), logits.end());
  };
  CHECK(logits_after("abc") == logits_after("abc"));
  CHECK(logits_after("abc") != logits_after("xbc"));
  CHECK(logits_after("2+2=five") != logits_after("3+2=five"));
}

TEST(ChecksItsInput) {
  ScriptedEngine engine({.max_rows = 2, .max_seqs = 2});
  const auto refuses = [&](const std::vector<Row>& rows) {
    return engine.Decode(rows) == Status::kFailed && !engine.last_error().empty();
  };
  CHECK(refuses({{.seq = 2, .pos = 0, .token = 1}}));
  CHECK(refuses({{.seq = -1, .pos = 0, .token = 1}}));
  CHECK(refuses({{.seq = 0, .pos = 1, .token = 1}}));
  CHECK(refuses({{.seq = 0, .pos = 0, .token = 1}, {.seq = 0, .pos = 2, .token = 1}}));
  CHECK(refuses({{.seq = 0, .pos = 0, .token = kNoToken}}));
  CHECK(refuses({{.seq = 0, .pos = 0, .token = engine.info().num_vocab}}));
  CHECK(refuses(std::vector<Row>(3, Row{.token = 1})));
  CHECK_EQ(engine.num_used_cells(), 0);
  const Row fine{.seq = 0, .pos = 0, .token = 1};
  CHECK_EQ(engine.Decode({&fine, 1}), Status::kOk);
  CHECK(refuses({fine}));  // the same position again
}

TEST(CountsSharedCellsOnce) {
  ScriptedEngine engine({.num_cells = 5});
  CHECK_EQ(Feed(&engine, 0, "abc"), Status::kOk);
  CHECK(engine.Fork(0, 1, 2));
  CHECK_EQ(engine.num_used_cells(), 3);
  CHECK_EQ(Feed(&engine, 1, "xy"), Status::kOk);
  CHECK_EQ(engine.num_used_cells(), 5);
  CHECK_EQ(Feed(&engine, 0, "d"), Status::kNoCells);
  CHECK_EQ(engine.Text(0), "abc");
  engine.Drop(0);  // "ab" is still held by sequence 1
  CHECK_EQ(engine.num_used_cells(), 4);
  CHECK(engine.Trim(1, 1));
  CHECK_EQ(engine.num_used_cells(), 1);
  CHECK_EQ(engine.Text(1), "a");
}

TEST(ForksOnlyIntoEmptySequences) {
  ScriptedEngine engine({});
  CHECK_EQ(Feed(&engine, 0, "ab"), Status::kOk);
  CHECK_EQ(Feed(&engine, 1, "c"), Status::kOk);
  CHECK(!engine.Fork(0, 1, 1));
  CHECK(!engine.Fork(0, 0, 1));
  CHECK(!engine.Fork(0, 2, 3));
  CHECK(!engine.Trim(0, 3));
  CHECK(engine.Fork(0, 2, 0));
}

TEST(WithoutACapabilityItSaysNo) {
  ScriptedEngine engine({.caps = kLogits});
  CHECK_EQ(Feed(&engine, 0, "ab"), Status::kOk);
  CHECK(engine.Hidden(1).empty());
  CHECK(!engine.Fork(0, 1, 1));
  CHECK(!engine.Trim(0, 1));
  CHECK(engine.Trim(0, 0));
  CHECK_THROWS(engine.Save(0), Error);
  const std::vector<float> embedding(8);
  const Row row{.seq = 0, .pos = 0, .embedding = embedding.data()};
  CHECK_EQ(engine.Decode({&row, 1}), Status::kFailed);
}

TEST(SavesAndLoads) {
  ScriptedEngine engine({.num_cells = 8});
  CHECK_EQ(Feed(&engine, 0, "abc"), Status::kOk);
  const auto state = engine.Save(0);
  engine.Load(1, state);
  CHECK_EQ(engine.Text(1), "abc");
  const std::vector<Row> rows = {{.seq = 0, .pos = 3, .token = 'd', .output = true},
                                 {.seq = 1, .pos = 3, .token = 'd', .output = true}};
  CHECK_EQ(engine.Decode(rows), Status::kOk);
  CHECK(std::ranges::equal(engine.Logits(0), engine.Logits(1)));
  CHECK_THROWS(engine.Load(2, state), Error);  // eight cells are taken
  CHECK_THROWS(engine.Load(1, state), Error);  // not empty
  engine.Drop(0);
  auto damaged = state;
  damaged[1] = 0xFF;
  CHECK_THROWS(engine.Load(0, damaged), Error);
  damaged.pop_back();
  CHECK_THROWS(engine.Load(0, damaged), Error);
  CHECK_EQ(engine.Text(0), "");
}

TEST(EmbeddingsAndHiddenStatesDependOnEachOther) {
  ScriptedEngine engine({});
  std::vector<float> embedding(8, 0.5F);
  const auto hidden_after = [&] {
    engine.Drop(0);
    const Row row{.seq = 0, .pos = 0, .embedding = embedding.data(), .output = true};
    CHECK_EQ(engine.Decode({&row, 1}), Status::kOk);
    return std::vector<float>(engine.Hidden(0).begin(), engine.Hidden(0).end());
  };
  const auto before = hidden_after();
  CHECK_EQ(before.size(), 8);
  CHECK(before == hidden_after());
  embedding[7] = 0;
  CHECK(before != hidden_after());
}

TEST(TimePassesOnItsClock) {
  const auto clock = std::make_shared<ManualClock>();
  ScriptedEngine engine({.clock = clock, .step_ms = 10, .cell_ms = 1, .row_ms = 2});
  CHECK_EQ(Feed(&engine, 0, "abc"), Status::kOk);  // reads 0 + 1 + 2 cells
  CHECK_NEAR(clock->NowMs(), 10 + 3 + 6, 1e-9);

  ScriptedEngine uneven({.clock = clock, .step_ms = 10, .pace = {1, 3}});
  for (const double ms : {10, 30, 10}) {
    const double begin_ms = clock->NowMs();
    CHECK_EQ(Feed(&uneven, 0, "a"), Status::kOk);
    CHECK_NEAR(clock->NowMs() - begin_ms, ms, 1e-9);
  }
}

TEST(FailsWhenTheScriptSaysSo) {
  ScriptedEngine engine({.fail_at_step = 1});
  CHECK_EQ(Feed(&engine, 0, "a"), Status::kOk);
  CHECK_EQ(Feed(&engine, 0, "b"), Status::kFailed);
  CHECK_EQ(Feed(&engine, 0, "b"), Status::kFailed);
  CHECK(!engine.last_error().empty());
}

// Whatever is forked, cut, dropped and decoded: every sequence answers as if it were computed anew.
TEST(RandomOperationsEqualRecomputing) {
  std::mt19937 random(7);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  ScriptedEngine engine({.num_cells = 64, .max_seqs = 4});
  ScriptedEngine twin({.num_cells = 64, .max_seqs = 1});
  std::vector<std::vector<Token>> texts(4);
  for (int i = 0; i < 3000; ++i) {
    const std::size_t seq = below(4);
    const std::size_t other = below(4);
    const auto id = static_cast<SeqId>(seq);
    switch (below(4)) {
      case 0:
        engine.Drop(id);
        texts[seq].clear();
        break;
      case 1: {
        const std::size_t len = below(texts[seq].size() + 1);
        CHECK(engine.Trim(id, static_cast<Pos>(len)));
        texts[seq].resize(len);
        break;
      }
      case 2: {
        const std::size_t len = below(texts[seq].size() + 1);
        const bool can = seq != other && texts[other].empty();
        CHECK_EQ(engine.Fork(id, static_cast<SeqId>(other), static_cast<Pos>(len)), can);
        if (can)
          texts[other].assign(texts[seq].begin(), texts[seq].begin() + static_cast<Pos>(len));
        break;
      }
      default: {
        const Row row{.seq = id,
                      .pos = static_cast<Pos>(texts[seq].size()),
                      .token = static_cast<Token>(below(256)),
                      .output = true};
        if (engine.Decode({&row, 1}) != Status::kOk) break;
        texts[seq].push_back(row.token);
        twin.Drop(0);
        std::vector<Row> rows;
        for (const Token token : texts[seq]) {
          rows.push_back({.pos = static_cast<Pos>(rows.size()), .token = token});
        }
        rows.back().output = true;
        CHECK_EQ(twin.Decode(rows), Status::kOk);
        const auto last = static_cast<std::int32_t>(rows.size()) - 1;
        CHECK(std::ranges::equal(engine.Logits(0), twin.Logits(last)));
      }
    }
  }
}

}  // namespace
}  // namespace edgereason
