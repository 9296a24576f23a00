#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "harness.h"

namespace edgereason {
namespace {

using test::Harness;
using test::Outcome;

// Without rules every logit depends on all that was fed before, embeddings included.
Phase Think(const Harness& harness, const std::string& prompt, std::int32_t latent,
            std::int32_t budget = kUnlimited) {
  return {.role = Role::kThink,
          .fresh = harness.Ids(prompt),
          .latent = latent,
          .budget = budget,
          .close = harness.Ids("|")};
}

std::vector<Phase> Chain(const Harness& harness, const std::string& prompt, std::int32_t latent,
                         std::int32_t answer = 8) {
  return {Think(harness, prompt, latent), {.budget = answer}};
}

Token Best(std::span<const float> logits) {
  return static_cast<Token>(std::ranges::max_element(logits) - logits.begin());
}

// The same by hand: prompt, `latent` rows that are fed the state before, the end mark, then greedy.
std::vector<Token> ByHand(const std::string& prompt, std::int32_t latent, std::int32_t answer = 8) {
  ScriptedEngine engine({});
  Pos pos = 0;
  const auto feed = [&](Token token, const float* embedding) {
    const Row row{.pos = pos++, .token = token, .embedding = embedding, .output = true};
    CHECK_EQ(engine.Decode({&row, 1}), Status::kOk);
  };
  for (const Token token : engine.Tokenize(prompt, true)) feed(token, nullptr);
  for (std::int32_t i = 0; i < latent; ++i) {
    const std::vector<float> state(engine.Hidden(0).begin(), engine.Hidden(0).end());
    feed(kNoToken, state.data());
  }
  for (const Token token : engine.Tokenize("|", true)) feed(token, nullptr);
  std::vector<Token> said;
  for (std::int32_t i = 0; i < answer; ++i) {
    const Token token = Best(engine.Logits(0));
    if (engine.vocab().Ends(token)) break;
    said.push_back(token);
    feed(token, nullptr);
  }
  return said;
}

}  // namespace

TEST(FeedsBackWhatALoopByHandFeedsBack) {
  for (const std::int32_t latent : {1, 2, 6, 40}) {
    Harness harness;
    const Outcome& outcome = harness.Finish(harness.Ask(Chain(harness, "Q?", latent)));
    CHECK_EQ(outcome.phases[0].reason, StopReason::kStop);
    CHECK_EQ(outcome.phases[0].num_latent, latent);
    CHECK_EQ(outcome.phases[0].num_reasoning, latent);
    CHECK_EQ(outcome.phases[0].tokens.size(), 0);
    CHECK_EQ(outcome.last().tokens, ByHand("Q?", latent));
  }
}

TEST(TheLastLatentRowAndWhatFollowsAreOneStep) {
  Harness harness;
  const std::int64_t before = harness.engine->num_steps();
  harness.Finish(harness.Ask(Chain(harness, "Q?", 6, 4)));
  // The prompt, five rows, the sixth with the end mark, three of four answer tokens.
  CHECK_EQ(harness.engine->num_steps() - before, 1 + 5 + 1 + 3);
}

TEST(ABudgetCutsLatentSteps) {
  for (const std::int32_t budget : {0, 1, 4, 6, 9}) {
    const std::int32_t taken = std::min(budget, 6);
    const StopReason reason = budget < 6 ? StopReason::kBudget : StopReason::kStop;
    Harness phase;
    const Outcome& of_phase =
        phase.Finish(phase.Ask({Think(phase, "Q?", 6, budget), {.budget = 8}}));
    Harness request;
    const Outcome& of_request =
        request.Finish(request.Ask(Chain(request, "Q?", 6), {.think_budget = budget}));
    for (const Outcome* outcome : {&of_phase, &of_request}) {
      CHECK_EQ(outcome->phases[0].num_latent, taken);
      CHECK_EQ(outcome->phases[0].reason, reason);
      CHECK_EQ(outcome->last().tokens, ByHand("Q?", taken));
    }
  }
}

TEST(LatentAndOrdinaryRequestsShareSteps) {
  const std::vector<std::pair<std::string, std::int32_t>> asked = {
      {"first", 6}, {"second one", 0}, {"third", 3}, {"a fourth that is longer", 12}, {"5", 0}};
  Harness harness;
  std::vector<SequenceId> ids;
  for (const auto& [prompt, latent] : asked) {
    auto chain = Chain(harness, prompt, latent);
    if (latent == 0) chain[0].budget = 0;
    ids.push_back(harness.Ask(std::move(chain)));
  }
  const std::int64_t before = harness.engine->num_steps();
  for (std::size_t i = 0; i < asked.size(); ++i) {
    CHECK_EQ(harness.Finish(ids[i]).last().tokens, ByHand(asked[i].first, asked[i].second));
  }
  CHECK(harness.engine->num_steps() - before <= 1 + 12 + 8);
}

TEST(StopThinkingEndsLatentSteps) {
  Harness harness;
  const SequenceId id = harness.Ask(Chain(harness, "Q?", 50));
  for (int i = 0; i < 5; ++i) harness.Step();
  harness.scheduler->StopThinking(id);
  const Outcome& outcome = harness.Finish(id);
  CHECK_EQ(outcome.phases[0].reason, StopReason::kInterrupted);
  CHECK_EQ(outcome.phases[0].num_latent, 5);
  CHECK_EQ(outcome.last().tokens, ByHand("Q?", 5));
}

TEST(CancelEndsLatentStepsAndFreesCells) {
  Harness harness;
  const std::int32_t before = harness.num_free_cells();
  const SequenceId id = harness.Ask(Chain(harness, "Q?", 50));
  for (int i = 0; i < 5; ++i) harness.Step();
  harness.scheduler->Cancel(id);
  const Outcome& outcome = harness.Finish(id);
  CHECK_EQ(outcome.last().reason, StopReason::kCancelled);
  CHECK_EQ(harness.num_free_cells(), before);
}

TEST(ADeadlineCutsLatentStepsInTimeForTheAnswer) {
  Harness harness;
  const double begin_ms = harness.clock->NowMs();
  const SequenceId id = harness.Ask(Chain(harness, "Q?", 2000, 8), {.deadline_ms = 500});
  const Outcome& outcome = harness.Finish(id);
  CHECK_EQ(outcome.phases[0].reason, StopReason::kDeadline);
  CHECK(outcome.phases[0].num_latent > 25);  // 10 ms each
  CHECK(outcome.end_ms - begin_ms <= 500);
  CHECK_EQ(outcome.last().tokens, ByHand("Q?", outcome.phases[0].num_latent));
}

TEST(AnUrgentRequestPausesLatentSteps) {
  Harness harness;
  const SequenceId slow = harness.Ask(Chain(harness, "slow", 20));
  for (int i = 0; i < 5; ++i) harness.Step();
  const SequenceId urgent = harness.Ask(Chain(harness, "urgent", 4), {.priority = 1});
  harness.Finish(urgent);
  CHECK(!harness.outcomes[slow].over);
  CHECK_EQ(harness.Finish(slow).last().tokens, ByHand("slow", 20));
}

TEST(AProbeLooksAheadFromTheMiddle) {
  Harness harness({.rules = {{.after = "[final]", .reply = "42\n"}}});
  Phase think = Think(harness, "Q?", 60);
  think.probe = {.every = 4, .cue = harness.Ids("[final]"), .tokens = 6, .agree = 3};
  const Outcome& outcome = harness.Finish(harness.Ask({think, {.budget = 8}}));
  CHECK_EQ(outcome.phases[0].reason, StopReason::kStable);
  CHECK_EQ(outcome.phases[0].probe, "42");
  CHECK(outcome.phases[0].num_latent >= 12 && outcome.phases[0].num_latent < 30);
  CHECK_EQ(outcome.last().tokens, ByHand("Q?", outcome.phases[0].num_latent));
}

// What a probe says is what the request would say if it ended there: it was fed the same state.
TEST(AProbeSeesTheStateItForked) {
  Harness harness;
  Phase think = Think(harness, "Q?", 12);
  think.probe = {.every = 8, .cue = harness.Ids("|"), .tokens = 3, .agree = 9};
  harness.Ask(Chain(harness, "beside it", 9));
  const Outcome& outcome = harness.Finish(harness.Ask({think, {.budget = 30}}));
  CHECK(outcome.phases[0].probe);
  std::string want;
  for (const Token token : ByHand("Q?", 8, 3)) want += harness.engine->vocab().Piece(token);
  CHECK(want.find(*outcome.phases[0].probe) != std::string::npos);
}

TEST(EvictedLatentStepsAreDecodedAnew) {
  Harness harness({.num_cells = 64});
  const SequenceId id = harness.Ask({Think(harness, "Q?", 6)});
  harness.Finish(id);
  // Another request needs the cells of the one that waits for its next run.
  const SequenceId other = harness.Ask(Chain(harness, std::string(50, 'p'), 2, 8));
  harness.Finish(other);
  harness.scheduler->Close(other, /*park=*/false);
  CHECK_EQ(harness.num_free_cells(), 64);
  harness.outcomes[id].over = false;
  harness.scheduler->Run(id, {{.budget = 8}});
  CHECK_EQ(harness.Finish(id).last().tokens, ByHand("Q?", 6));
}

TEST(AParkedThoughtIsNoPrefixOfText) {
  Harness harness;
  const SequenceId id = harness.Ask(Chain(harness, "Q?", 6));
  harness.Finish(id);
  harness.scheduler->Close(id, /*park=*/true);
  Phase next{.fresh = harness.Ids("Q?|and more"), .budget = 4};
  CHECK_EQ(harness.Finish(harness.Ask({next})).last().num_cached, 2);
}

TEST(PenaltiesPassOverLatentSteps) {
  Harness harness;
  auto chain = Chain(harness, "Q?", 6);
  chain[1].sampling = {.repetition_penalty = 1.5, .presence_penalty = 0.5};
  CHECK_EQ(harness.Finish(harness.Ask(std::move(chain))).last().reason, StopReason::kBudget);
}

TEST(WithoutCellsLatentStepsEnd) {
  Harness harness({.num_cells = 48});
  const SequenceId one = harness.Ask(Chain(harness, "Q?", 20, 8));
  const SequenceId two = harness.Ask(Chain(harness, "A?", 20, 8));
  for (const SequenceId id : {one, two}) {
    const Outcome& outcome = harness.Finish(id);
    CHECK_EQ(outcome.last().tokens, ByHand(id == one ? "Q?" : "A?", outcome.phases[0].num_latent));
  }
}

TEST(BadLatentPhasesAreRefused) {
  Harness harness;
  const auto refused = [&](const Phase& phase) {
    CHECK_THROWS(harness.Ask({phase, {.budget = 8}}), Error);
  };
  refused(Think(harness, "Q?", -1));
  refused(Think(harness, "Q?", 10000));
  harness.Finish(harness.Ask({Think(harness, "Q?", 10000, 3), {.budget = 8}}));
  Phase answer = Think(harness, "Q?", 3);
  answer.role = Role::kAnswer;
  refused(answer);
  Harness without({.caps = kLogits | kFork | kTrim | kEmbedIn});
  CHECK_THROWS(without.Ask(Chain(without, "Q?", 3)), Error);
}

TEST(RandomLatentLoadAnswersAsEachAlone) {
  std::mt19937 random(7);
  Harness harness({.num_cells = 300, .max_seqs = 5});
  struct Asked {
    SequenceId id;
    std::string prompt;
    std::int32_t latent;
  };
  std::vector<Asked> asked;
  for (int i = 0; i < 60; ++i) {
    const auto latent = static_cast<std::int32_t>(random() % 12);
    const std::string prompt = "p" + std::to_string(random() % 30) + "Q?";
    auto chain = Chain(harness, prompt, latent);
    if (latent == 0) chain[0].budget = 0;
    const auto priority = static_cast<std::int32_t>(random() % 3);
    asked.push_back({harness.Ask(std::move(chain), {.priority = priority}), prompt, latent});
    for (unsigned steps = random() % 8; steps > 0; --steps) harness.Step();
  }
  for (const Asked& each : asked) {
    const Outcome& outcome = harness.Finish(each.id);
    CHECK_EQ(outcome.last().tokens, ByHand(each.prompt, outcome.phases[0].num_latent));
    CHECK(outcome.phases[0].num_latent <= each.latent);
    harness.scheduler->Close(each.id, random() % 2 == 0);
  }
}

}  // namespace edgereason
