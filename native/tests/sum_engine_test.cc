#include "sum_engine.h"

#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "edgereason/scheduler.h"
#include "edgereason/scripted.h"

namespace edgereason {
namespace {

std::shared_ptr<ScriptedEngine> Scripted(std::vector<ScriptedRule> rules,
                                         ScriptedOptions options = {}) {
  options.rules = std::move(rules);
  return std::make_shared<ScriptedEngine>(std::move(options));
}

std::vector<Row> Rows(const std::vector<Token>& tokens, SeqId seq = 0, Pos from = 0) {
  std::vector<Row> rows;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    rows.push_back({.seq = seq,
                    .pos = from + static_cast<Pos>(i),
                    .token = tokens[i],
                    .output = i + 1 == tokens.size()});
  }
  return rows;
}

// With tokens behind the others that no text has.
class Padded : public ScriptedEngine {
 public:
  explicit Padded(std::int32_t num) : ScriptedEngine({}), info_(ScriptedEngine::info()) {
    vocab_ = ScriptedEngine::vocab();
    for (std::int32_t i = 0; i < num; ++i)
      vocab_.pieces.push_back("[PAD" + std::to_string(i) + "]");
    vocab_.ends.resize(vocab_.pieces.size());
    vocab_.control.resize(vocab_.pieces.size());
    info_.num_vocab += num;
  }
  const EngineInfo& info() const noexcept override { return info_; }
  const Vocab& vocab() const noexcept override { return vocab_; }
  std::span<const float> Logits(std::int32_t row) const noexcept override {
    const auto logits = ScriptedEngine::Logits(row);
    logits_.assign(logits.begin(), logits.end());
    logits_.resize(vocab_.pieces.size(), 1e9F);  // never to be seen
    return logits_;
  }

 private:
  EngineInfo info_;
  Vocab vocab_;
  mutable std::vector<float> logits_;
};

// What one answers greedily to "Q?".
std::string Answer(const std::shared_ptr<Engine>& engine, std::int32_t budget = 20) {
  const auto clock = std::make_shared<ManualClock>();
  Scheduler scheduler(engine, clock, {});
  scheduler.WarmUp();
  const SequenceId id = scheduler.Open({});
  scheduler.Run(id, {{.fresh = engine->Tokenize("Q?", true), .budget = budget}});
  for (int i = 0; i < 1000; ++i) {
    scheduler.Step();
    for (const Event& event : scheduler.Take(0, 64)) {
      if (event.kind != Event::Kind::kPhaseEnd) continue;
      std::string text = event.result->text;
      delete event.result;
      return text;
    }
  }
  return "never";
}

}  // namespace

TEST(LogitsAreAdded) {
  const auto base = Scripted({}), guide = Scripted({{.after = "Q?", .reply = "yes"}});
  SumEngine sum(base, guide, 0.5F);
  const std::vector<Token> tokens = sum.Tokenize("Q?", true);
  CHECK(sum.Decode(Rows(tokens)) == Status::kOk);
  const auto row = static_cast<std::int32_t>(tokens.size()) - 1;
  const auto one = base->Logits(row), two = guide->Logits(row), both = sum.Logits(row);
  CHECK_EQ(both.size(), one.size());
  for (std::size_t i = 0; i < both.size(); ++i) CHECK_EQ(both[i], one[i] + 0.5F * two[i]);
  CHECK(sum.Logits(0).empty());
}

TEST(AtStrengthZeroItIsTheModelAlone) {
  const std::string alone = Answer(Scripted({}));
  CHECK_EQ(Answer(std::make_shared<SumEngine>(
               Scripted({}), Scripted({{.after = "Q?", .reply = "guided"}}), 0.0F)),
           alone);
  CHECK(alone != "guided");
}

TEST(AGuideLeadsWhereTheModelHasNoOpinion) {
  const auto guide = Scripted({{.after = "Q?", .reply = "guided"}});
  CHECK_EQ(Answer(std::make_shared<SumEngine>(Scripted({}), guide, 1.0F)), "guided");
}

TEST(PaddingIsLeftOut) {
  const auto guide = [] { return Scripted({{.after = "Q?", .reply = "guided"}}); };
  const auto padded = [] { return std::make_shared<Padded>(7); };
  CHECK_EQ(Answer(std::make_shared<SumEngine>(padded(), guide(), 1.0F)), "guided");
  CHECK_EQ(Answer(std::make_shared<SumEngine>(guide(), padded(), 1.0F)), "guided");
  const SumEngine sum(padded(), guide(), 1.0F);
  CHECK_EQ(sum.info().num_vocab, guide()->info().num_vocab);
  CHECK_EQ(sum.vocab().pieces.size(), guide()->vocab().pieces.size());
}

TEST(ForksAndCutsAreDoneInBoth) {
  const auto base = Scripted({}), guide = Scripted({});
  SumEngine sum(base, guide, 1.0F);
  const std::vector<Token> tokens = sum.Tokenize("abcdef", true);
  CHECK(sum.Decode(Rows(tokens)) == Status::kOk);
  CHECK(sum.Fork(0, 1, 4));
  CHECK_EQ(base->Text(1), "abcd");
  CHECK_EQ(guide->Text(1), "abcd");
  CHECK(sum.Trim(1, 2));
  CHECK_EQ(guide->Text(1), "ab");
  const std::vector<std::uint8_t> state = sum.Save(0);
  sum.Load(2, state);
  CHECK_EQ(base->Text(2) + guide->Text(2), "abcdefabcdef");
  for (const SeqId seq : {0, 1, 2}) sum.Drop(seq);
  CHECK_EQ(base->num_used_cells() + guide->num_used_cells(), 0);
  CHECK_THROWS(sum.Load(3, std::span(state).first(5)), Error);
  CHECK_THROWS(sum.Load(3, std::span(state).first(20)), Error);
  CHECK_EQ(base->num_used_cells() + guide->num_used_cells(), 0);
}

TEST(WhereTheGuideCannotNothingIsDone) {
  const auto base = Scripted({}), guide = Scripted({}, {.fail_at_step = 1});
  SumEngine sum(base, guide, 1.0F);
  const std::vector<Token> tokens = sum.Tokenize("abc", true);
  CHECK(sum.Decode(Rows(tokens)) == Status::kOk);
  CHECK(sum.Decode(Rows({tokens[0]}, 0, 3)) == Status::kFailed);
  CHECK_EQ(base->Text(0), "abc");
  CHECK(sum.last_error().starts_with("the guide: "));
}

TEST(WhatDoesNotFitIsRefused) {
  const auto base = Scripted({});
  CHECK_THROWS(SumEngine(base, Scripted({}, {.words = {"word"}}), 1.0F), Error);
  CHECK_THROWS(SumEngine(base, Scripted({}, {.end = "<eos>"}), 1.0F), Error);
  CHECK_THROWS(SumEngine(base, Scripted({}, {.caps = kLogits | kFork}), 1.0F), Error);
  CHECK_THROWS(SumEngine(base, Scripted({}), 0.0F / 0.0F), Error);
  const SumEngine sum(base, Scripted({}, {.num_cells = 99, .max_seqs = 3}), 1.0F);
  CHECK_EQ(sum.info().num_cells, 99);
  CHECK_EQ(sum.info().max_seqs, 3);
  CHECK_EQ(sum.info().caps, kLogits | kFork | kTrim | kSaveKv);
}

}  // namespace edgereason
