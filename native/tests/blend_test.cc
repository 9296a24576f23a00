#include "policy/blend.h"

#include <string>
#include <vector>

#include "check.h"
#include "harness.h"

namespace edgereason {
namespace {

using test::Harness;
using test::Outcome;

// Without rules logits are noise: many tokens are near the best.
Phase Soft(const Harness& harness, std::int32_t budget, Blend blend = {.top = 8}) {
  return {.role = Role::kThink,
          .fresh = harness.Ids("Q?"),
          .budget = budget,
          .close = harness.Ids("|"),
          .sampling = {.temperature = 1},
          .blend = blend};
}

}  // namespace

TEST(BlendsSpendTheBudgetAndAreCounted) {
  Harness harness;
  const Outcome& outcome = harness.Finish(harness.Ask({Soft(harness, 12), {.budget = 4}}));
  CHECK_EQ(outcome.phases[0].reason, StopReason::kBudget);
  CHECK_EQ(outcome.phases[0].tokens.size(), 12);
  CHECK_EQ(outcome.phases[0].entropies.size(), 12);
  CHECK_EQ(outcome.phases[0].num_reasoning, 12);
  CHECK_EQ(outcome.phases[0].num_latent, 12);
}

TEST(OneTokenIsPlainThinking) {
  Harness harness;
  const Outcome& plain = harness.Finish(harness.Ask({Soft(harness, 12, {}), {.budget = 4}}));
  const Outcome& one = harness.Finish(harness.Ask({Soft(harness, 12, {.top = 1}), {.budget = 4}}));
  CHECK_EQ(plain.phases[0].tokens, one.phases[0].tokens);
  CHECK_EQ(plain.last().tokens, one.last().tokens);
  CHECK_EQ(one.phases[0].num_latent, 0);
}

// A context that had to give way is decoded anew from the embeddings that it keeps.
TEST(EvictedBlendsAreDecodedAnew) {
  Harness harness({.num_cells = 64});
  Harness roomy;
  const SequenceId id = harness.Ask({Soft(harness, 6)});
  harness.Finish(id);
  const SequenceId other = harness.Ask({Soft(harness, 50), {.budget = 8}});
  harness.Finish(other);
  harness.scheduler->Close(other, /*park=*/false);
  CHECK_EQ(harness.num_free_cells(), 64);
  harness.outcomes[id].over = false;
  harness.scheduler->Run(id, {{.budget = 8}});
  const Outcome& anew = harness.Finish(id);
  const SequenceId same = roomy.Ask({Soft(roomy, 6), {.budget = 8}});
  CHECK_EQ(anew.last().tokens, roomy.Finish(same).last().tokens);
}

TEST(EqualTextsOfOtherBlendsShareNoKv) {
  Harness harness;
  const SequenceId id = harness.Ask({Soft(harness, 6)});
  harness.Finish(id);
  harness.scheduler->Close(id, /*park=*/true);
  Phase next{.fresh = harness.Ids("Q?and more"), .budget = 4};
  CHECK_EQ(harness.Finish(harness.Ask({next})).last().num_cached, 2);
}

TEST(AMarkIsFedAsTokensAndEndsThePhase) {
  Harness harness({.rules = {{.after = "Q?", .reply = "so so</think>"}},
                   .control = {"<|im_start|>", "<think>", "</think>"}});
  Phase think = Soft(harness, 40);
  think.shut = {"</think>"};
  think.sampling.min_p = 0.01F;  // the script's token alone is likely enough
  const Outcome& outcome = harness.Finish(harness.Ask({think, {.budget = 4}}));
  CHECK_EQ(outcome.phases[0].reason, StopReason::kStop);
  CHECK_EQ(outcome.phases[0].text, "so so");
  CHECK_EQ(outcome.phases[0].num_latent, 0);
}

TEST(BadBlendsAreRefused) {
  Harness harness;
  const auto refused = [&](Blend blend, Role role = Role::kThink) {
    Phase phase = Soft(harness, 4, blend);
    phase.role = role;
    CHECK_THROWS(harness.Ask({phase}), Error);
  };
  refused({.top = 65});
  refused({.top = -1});
  refused({.top = 8, .noise = -1});
  refused({.top = 8, .dwell = -1});
  refused({.top = 8, .switches = -1});
  refused({.top = 8}, Role::kAnswer);
  Harness without({.caps = kLogits | kFork | kTrim | kEmbedIn});
  CHECK_THROWS(without.Ask({Soft(without, 4)}), Error);
}

TEST(TurnsFollowEntropy) {
  BlendSwitch turns;
  const Blend rule{.top = 4, .dwell = 2, .switches = 1};
  CHECK(turns.Next(rule, 1.0));   // the first sets the mark
  CHECK(turns.Next(rule, 1.5));   // less sure: still blends
  CHECK(!turns.Next(rule, 0.5));  // surer: text
  CHECK(!turns.Next(rule, 2.0));  // too soon
  CHECK(!turns.is_over(rule));
  CHECK(!turns.Next(rule, 0.1));
  CHECK(turns.Next(rule, 2.0));
  CHECK(turns.is_over(rule));
}

namespace {

// Tells which keys its steps were computed under.
class KeyedEngine final : public ScriptedEngine {
 public:
  explicit KeyedEngine(ScriptedOptions options) : ScriptedEngine(std::move(options)) {}
  bool Use(ContextKey key) noexcept override {
    now = key;
    return key != 99;
  }
  Status Decode(std::span<const Row> rows) noexcept override {
    for (const Row& row : rows) seen.push_back({now, row.seq});
    return ScriptedEngine::Decode(rows);
  }
  ContextKey now = 0;
  std::vector<std::pair<ContextKey, SeqId>> seen;
};

}  // namespace

TEST(AStepHasRowsOfOneKeyAndKeysTakeTurns) {
  Harness harness;
  auto engine =
      std::make_shared<KeyedEngine>(ScriptedOptions{.clock = harness.clock, .step_ms = 9});
  harness.Use(engine, {.delivery_ms = 0});
  std::vector<SequenceId> ids;
  for (const ContextKey key : {0, 1, 2, 1}) {
    ids.push_back(harness.Ask({{.fresh = harness.Ids("Q?"), .budget = 12}}, {.context_key = key}));
  }
  for (const SequenceId id : ids) CHECK_EQ(harness.Finish(id).last().tokens.size(), 12);
  std::map<SeqId, ContextKey> key_of;
  for (const auto& [key, seq] : engine->seen) {
    if (key_of.contains(seq) && key_of[seq] != key) continue;  // the number was used again
    key_of[seq] = key;
  }
  std::vector<ContextKey> order;
  for (const auto& [key, seq] : engine->seen) {
    if (order.empty() || order.back() != key) order.push_back(key);
  }
  CHECK(order.size() > 20);  // nobody ran to its end before the others began
}

TEST(AKeyThatStandsForNothingEndsItsOwnSequence) {
  Harness harness;
  auto engine =
      std::make_shared<KeyedEngine>(ScriptedOptions{.clock = harness.clock, .step_ms = 9});
  harness.Use(engine, {.delivery_ms = 0});
  const SequenceId wrong =
      harness.Ask({{.fresh = harness.Ids("Q?"), .budget = 4}}, {.context_key = 99});
  const SequenceId right = harness.Ask({{.fresh = harness.Ids("Q?"), .budget = 4}});
  CHECK_EQ(harness.Finish(right).last().tokens.size(), 4);
  CHECK(harness.Finish(wrong).failed);
}

TEST(OwedWorkOfAnotherKeyGoesFirst) {
  Harness harness;
  auto engine =
      std::make_shared<KeyedEngine>(ScriptedOptions{.clock = harness.clock, .step_ms = 9});
  harness.Use(engine, {.delivery_ms = 0});
  const SequenceId slow =
      harness.Ask({{.fresh = harness.Ids("Q?"), .budget = 200}}, {.context_key = 1});
  for (int i = 0; i < 5; ++i) harness.Step();
  const double begin_ms = harness.clock->NowMs();
  const SequenceId urgent = harness.Ask({{.fresh = harness.Ids("now"), .budget = 10}},
                                        {.deadline_ms = 150, .context_key = 2});
  const Outcome& outcome = harness.Finish(urgent);
  CHECK(outcome.end_ms - begin_ms <= 150);
  CHECK_EQ(outcome.last().tokens.size(), 10);
  CHECK(!harness.outcomes[slow].over);
}

TEST(ScoresOfAPrompt) {
  Harness harness({.rules = {{.after = "Q?", .reply = "b"}}});
  const std::vector<Token> asked = {harness.Ids("a")[0], harness.Ids("b")[0]};
  Phase score{.role = Role::kPrefill, .fresh = harness.Ids("Q?"), .budget = 0, .score = asked};
  const Outcome& outcome = harness.Finish(harness.Ask({score}));
  CHECK_EQ(outcome.last().tokens.size(), 0);
  CHECK_EQ(outcome.last().scores.size(), 2);
  CHECK(outcome.last().scores[1] > -0.1 && outcome.last().scores[1] <= 0);
  CHECK(outcome.last().scores[0] < -5);
  score.score = {100000};
  CHECK_THROWS(harness.Ask({score}), Error);
  score = {.fresh = harness.Ids("Q?"), .budget = 1, .score = asked};
  CHECK_THROWS(harness.Ask({score}), Error);
}

}  // namespace edgereason
