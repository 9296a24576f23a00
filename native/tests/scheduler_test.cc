#include "edgereason/scheduler.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "harness.h"

namespace edgereason {
namespace {

using test::Answer;
using test::Endless;
using test::Harness;
using test::Outcome;
using test::Think;

const std::string kThoughts = "one and two and three and four and five and six and seven and eight";

ScriptedOptions Model(std::vector<ScriptedRule> rules = {}) {
  rules.push_back({.after = "Q?", .reply = kThoughts + "</think>\n\n42"});
  rules.push_back({.after = "</think>", .reply = "\n\n42"});
  return {.rules = std::move(rules)};
}

}  // namespace

TEST(ThinksAndAnswers) {
  Harness harness(Model());
  const Outcome& outcome = harness.Finish(harness.Ask({Think(harness), Answer(harness)}));
  CHECK_EQ(outcome.phases.size(), 2);
  CHECK_EQ(outcome.phases[0].reason, StopReason::kStop);
  CHECK_EQ(outcome.phases[0].text, kThoughts);
  CHECK_EQ(outcome.phases[0].mark, 0);
  CHECK_EQ(outcome.last().text, "\n\n42");
  CHECK_EQ(outcome.last().mark, -1);  // an end token is no text
  CHECK_EQ(outcome.last().reason, StopReason::kStop);
}

TEST(BudgetIsNeverExceededAndTheAnswerFollows) {
  for (const std::int32_t budget : {0, 1, 17, 200}) {
    Harness harness(Endless());
    const Outcome& outcome = harness.Finish(harness.Ask({Think(harness, budget), Answer(harness)}));
    CHECK_EQ(outcome.phases[0].num_reasoning, budget);
    CHECK_EQ(outcome.phases[0].reason, StopReason::kBudget);
    CHECK_EQ(outcome.last().text, "\n\n42");
  }
}

TEST(RequestBudgetIsCumulativeOverReopenedBlocks) {
  ScriptedOptions model =
      Model({{.after = "</think>a", .reply = "\n<think>more and more and more"}});
  model.rules.push_back({.after = "</think>", .reply = "a\n<think>more and more and more"});
  Harness harness(model);
  const SequenceId id = harness.Ask({Think(harness), Answer(harness)}, {.think_budget = 12});
  const Outcome& outcome = harness.Finish(id);
  CHECK_EQ(outcome.phases[0].num_reasoning + outcome.last().num_reasoning, 12);
  CHECK_EQ(outcome.last().text.find("more"), std::string::npos);
}

TEST(ReopenedBlockSpendsWhatIsLeft) {
  Harness harness({.rules = {{.after = "Q?", .reply = "ab</think>x\n<think>cdefgh"},
                             {.after = "cde</think>", .reply = "42"}}});
  const SequenceId id = harness.Ask({Think(harness), Answer(harness)}, {.think_budget = 12});
  const Outcome& outcome = harness.Finish(id);
  CHECK_EQ(outcome.phases[0].text, "ab");
  CHECK_EQ(outcome.last().reasoning.substr(0, 3), "cde");
  CHECK(outcome.phases[0].num_reasoning + outcome.last().num_reasoning <= 12);
}

TEST(ABlockThatEndsWithTheTurnIsFollowedByAnAnswer) {
  Harness harness({.rules = {{.after = "Q?", .reply = "ab</think>\n<think>cd"},
                             {.after = "cd</think>", .reply = "42"}}});
  const Outcome& outcome = harness.Finish(harness.Ask({Think(harness), Answer(harness)}));
  CHECK_EQ(outcome.last().reasoning, "cd");
  CHECK_EQ(outcome.last().text, "\n42");
  CHECK_EQ(outcome.last().reason, StopReason::kStop);
}

// Its end is no mark here, so that nobody took the block for ended before the turn was.
TEST(ABlockWhoseEndTheModelWroteItselfEndsWithTheTurn) {
  Harness harness({.rules = {{.after = "Q?", .reply = "ab</think>\n<think>cd So:"},
                             {.after = "</think>", .reply = "\n<think>cd So:"}}});
  Phase answer = test::Answer(harness);
  answer.close = harness.Ids(" So:");
  const Outcome& outcome = harness.Finish(harness.Ask({test::Think(harness), answer}));
  CHECK_EQ(outcome.last().reason, StopReason::kStop);
  CHECK(outcome.last().reasoning.ends_with("cd So:"));
}

TEST(ABlockThatRepeatsItselfIsFollowedByAnAnswer) {
  Harness harness(
      {.rules = {{.after = "Q?", .reply = "ab</think>\n<think>hmhmhmhmhmhmhmhmhmhmhmhm"},
                 {.after = "hm</think>", .reply = "42"}}});
  Phase answer = Answer(harness);
  answer.loop = {.max_period = 4, .repeats = 4, .min_tokens = 8};
  const Outcome& outcome = harness.Finish(harness.Ask({Think(harness), answer}));
  CHECK_EQ(outcome.last().text, "\n42");
  CHECK_EQ(outcome.last().reason, StopReason::kStop);
}

TEST(BlanksAloneAreNoAnswer) {
  Harness harness({.rules = {{.after = "Q?", .reply = "ab</think>\n\n"}}});
  const Outcome& outcome = harness.Finish(harness.Ask({Think(harness), Answer(harness, 8)}));
  CHECK(outcome.last().text.find_first_not_of("\n") != std::string::npos);
}

TEST(SecondEndMarkAfterAForcedCloseIsDropped) {
  Harness harness({.rules = {{.after = "Q?", .reply = kThoughts},
                             {.after = "</think>", .reply = "</think>\n42"},
                             {.after = "</think></think>", .reply = "\n42"}}});
  const Outcome& outcome = harness.Finish(harness.Ask({Think(harness, 5), Answer(harness)}));
  CHECK_EQ(outcome.last().text, "\n42");
}

TEST(DeadlineClosesThinkingInTimeForTheAnswer) {
  Harness harness(Endless());
  const double begin_ms = harness.clock->NowMs();
  const SequenceId id = harness.Ask({Think(harness), Answer(harness, 8)}, {.deadline_ms = 500});
  const Outcome& outcome = harness.Finish(id);
  CHECK_EQ(outcome.phases[0].reason, StopReason::kDeadline);
  CHECK_EQ(outcome.last().text, "\n\n42");
  CHECK(outcome.end_ms - begin_ms <= 500);
  // It did not give up long before: 10 ms a token.
  CHECK(outcome.phases[0].num_reasoning > 25);
}

// The same question over and over, each with a second: none keeps time free for those before it,
// and what is kept for the answer is what answers take.
TEST(OneAfterTheOtherUsesTheTimeItIsGiven) {
  Harness harness(Endless());
  for (int i = 0; i < 20; ++i) {
    const double begin_ms = harness.clock->NowMs();
    const SequenceId id =
        harness.Ask({Think(harness), Answer(harness, 256)}, {.deadline_ms = 1000});
    const Outcome& outcome = harness.Finish(id);
    CHECK_EQ(outcome.last().text, "\n\n42");
    CHECK(outcome.end_ms - begin_ms <= 1000);
    if (i >= 5) CHECK(outcome.end_ms - begin_ms >= 700);
    harness.scheduler->Close(id, false);
    harness.clock->Advance(500);
  }
}

// Its end mark is the second best all along; near the end of the time it becomes the best.
TEST(TheEndMarkBecomesLikelierAsTheTimeRunsOut) {
  const std::string thoughts(500, '.');  // a sentence may end anywhere
  const auto ended_by = [&](float soft) {
    Harness harness(
        {.rules = {{.after = "Q?", .reply = thoughts}, {.after = "</think>", .reply = "\n\n42"}}});
    Phase think = Think(harness);
    think.soft = soft;
    const SequenceId id = harness.Ask({think, Answer(harness, 8)}, {.deadline_ms = 2000});
    return harness.Finish(id).phases[0];
  };
  const PhaseResult hard = ended_by(1);
  const PhaseResult soft = ended_by(0.5);
  CHECK_EQ(hard.reason, StopReason::kDeadline);
  CHECK_EQ(soft.reason, StopReason::kDeadline);
  CHECK(soft.num_reasoning < hard.num_reasoning);
  CHECK(soft.num_reasoning > hard.num_reasoning - 24);  // in the last steps only
}

TEST(ImpossibleDeadlineGivesTheTextSoFarInTime) {
  Harness harness({.rules = {{.after = "Q?", .reply = kThoughts}}});
  const double begin_ms = harness.clock->NowMs();
  Phase answer = Answer(harness, 1000);
  answer.fresh = harness.Ids("Q?");
  const Outcome& outcome = harness.Finish(harness.Ask({answer}, {.deadline_ms = 100}));
  CHECK_EQ(outcome.last().reason, StopReason::kDeadline);
  CHECK(outcome.end_ms - begin_ms <= 100);
  CHECK(outcome.last().tokens.size() >= 6);
  CHECK_EQ(kThoughts.find(outcome.last().text), 0);
}

TEST(NoStepIsBegunThatMayEndAfterADeadline) {
  Harness harness(Endless());
  const double begin_ms = harness.clock->NowMs();
  // Tokens of 10 ms: one that begins after 90 ends in time only if it takes no longer than
  // expected.
  const Phase answer{.fresh = harness.Ids("Q?"), .budget = 100};
  const Outcome& outcome = harness.Finish(harness.Ask({answer}, {.deadline_ms = 101}));
  CHECK_EQ(outcome.last().reason, StopReason::kDeadline);
  CHECK_NEAR(outcome.end_ms - begin_ms, 91, 1);
}

TEST(AnAnswerIsNotEmpty) {
  // After its thoughts the model would end its turn at once.
  Harness harness(
      {.rules = {{.after = "Q?", .reply = kThoughts}, {.after = "</think>", .reply = ""}}});
  const Outcome& outcome = harness.Finish(harness.Ask({Think(harness, 4), Answer(harness)}));
  CHECK(!outcome.last().text.empty());
  // A draft may be.
  Phase draft = Answer(harness);
  draft.role = Role::kDraft;
  const Outcome& other = harness.Finish(harness.Ask({Think(harness, 4), draft}));
  CHECK(other.last().text.empty());
}

TEST(OnlyAnswersThatWereGivenTeachTheirLength) {
  Harness harness(Model());
  const auto num_learned = [&] { return harness.scheduler->lengths().front().weight; };
  harness.Finish(harness.Ask({Think(harness, 4)}));
  CHECK_EQ(num_learned(), 0);
  const SequenceId id = harness.Ask({{.fresh = harness.Ids("Q?"), .budget = 50}});
  for (int i = 0; i < 10; ++i) harness.Step();
  harness.scheduler->Cancel(id);
  CHECK(!harness.Finish(id).last().tokens.empty());
  CHECK_EQ(num_learned(), 0);
  harness.Finish(harness.Ask({{.fresh = harness.Ids("Q?"), .budget = 50}}));
  CHECK_EQ(num_learned(), 1);
}

TEST(CancelFreesCellsWithinOneStep) {
  Harness harness(Endless());
  const std::int32_t before = harness.num_free_cells();
  const SequenceId id = harness.Ask({Think(harness), Answer(harness)});
  for (int i = 0; i < 20; ++i) harness.Step();
  CHECK(harness.num_free_cells() < before);
  harness.scheduler->Cancel(id);
  CHECK_EQ(harness.num_free_cells(), before);
  CHECK_EQ(harness.Finish(id).last().reason, StopReason::kCancelled);
}

TEST(StopThinkingGoesOnToTheAnswer) {
  Harness harness(Endless());
  const SequenceId id = harness.Ask({Think(harness), Answer(harness)});
  for (int i = 0; i < 10; ++i) harness.Step();
  harness.scheduler->StopThinking(id);
  const Outcome& outcome = harness.Finish(id);
  CHECK_EQ(outcome.phases[0].reason, StopReason::kInterrupted);
  CHECK(outcome.phases[0].num_reasoning <= 10);
  CHECK_EQ(outcome.last().text, "\n\n42");
}

TEST(UrgentRequestPausesAndTheOtherGoesOn) {
  Harness harness(Endless());
  const SequenceId slow = harness.Ask({Think(harness, 100), Answer(harness)});
  for (int i = 0; i < 10; ++i) harness.Step();
  const SequenceId urgent = harness.Ask({Think(harness, 50), Answer(harness)}, {.priority = 1});
  harness.Finish(urgent);
  const double between_ms = harness.clock->NowMs();
  const Outcome& outcome = harness.Finish(slow);
  CHECK_EQ(outcome.phases[0].num_reasoning, 100);
  CHECK_EQ(outcome.last().text, "\n\n42");
  // Of its 100 thoughts about 10 were done before.
  CHECK(harness.clock->NowMs() - between_ms > 85 * 10);
}

TEST(EqualPromptsUnderOtherAdaptersShareNothing) {
  Harness harness(Model());
  const auto cached = [&](ContextKey key) {
    const SequenceId id = harness.Ask({Think(harness, 4), Answer(harness)}, {.context_key = key});
    const std::int32_t num = harness.Finish(id).phases[0].num_cached;
    harness.scheduler->Close(id, /*park=*/true);
    return num;
  };
  CHECK_EQ(cached(1), 0);
  CHECK_EQ(cached(2), 0);
  CHECK(cached(1) > 0);
}

TEST(CommonPrefixIsDecodedOnce) {
  Harness harness(Model());
  const std::string shared(200, 'p');
  const auto ask = [&](const std::string& tail) {
    Phase think = Think(harness, 10);
    think.fresh = harness.Ids(shared + tail + "Q?");
    return harness.Ask({think, Answer(harness)});
  };
  const SequenceId first = ask("a");
  for (int i = 0; i < 5; ++i) harness.Step();
  const Outcome& second = harness.Finish(ask("b"));
  CHECK_EQ(second.phases[0].num_cached, 200);
  CHECK_EQ(second.last().text, "\n\n42");
  CHECK_EQ(harness.Finish(first).phases[0].num_cached, 0);
}

TEST(BeginningOfPromptsIsKeptForDeadlines) {
  for (const double deadline_ms : {kNever, 3000.0}) {
    Harness harness(Model());
    std::vector<std::int32_t> cached;
    for (const char letter : {'a', 'b', 'c', 'd'}) {
      Phase think = Think(harness, 10);
      think.fresh = harness.Ids(std::string(40, 'p') + letter + "Q?");
      const SequenceId id = harness.Ask({think, Answer(harness)}, {.deadline_ms = deadline_ms});
      cached.push_back(harness.Finish(id).phases[0].num_cached);
      harness.scheduler->Close(id, false);
    }
    const std::int32_t kept = deadline_ms < kNever ? 40 : 0;
    CHECK_EQ(cached, (std::vector<std::int32_t>{0, 0, kept, kept}));
    CHECK_EQ(harness.num_free_cells(), harness.engine->info().num_cells - kept);
  }
}

TEST(EqualPromptsAtOnceAreReadOnce) {
  Harness harness(Model());
  Phase think = Think(harness, 10);
  think.fresh = harness.Ids(std::string(300, 'p') + "Q?");
  std::vector<SequenceId> ids;
  for (int i = 0; i < 4; ++i) ids.push_back(harness.Ask({think, Answer(harness)}));
  CHECK_EQ(harness.Finish(ids[0]).phases[0].num_cached, 0);
  for (std::size_t i = 1; i < 4; ++i) {
    CHECK_EQ(harness.Finish(ids[i]).phases[0].num_cached, 301);
    CHECK_EQ(harness.Finish(ids[i]).last().text, "\n\n42");
  }
}

TEST(ParkedPrefixServesTheNextTurn) {
  Harness harness(Model());
  const SequenceId id = harness.Ask({Think(harness, 10), Answer(harness)});
  harness.Finish(id);
  harness.scheduler->Close(id, /*park=*/true);
  Phase next = Answer(harness);
  next.fresh = harness.Ids("Q?" + kThoughts.substr(0, 10) + "</think>\n\n42 and? Q?");
  const Outcome& outcome = harness.Finish(harness.Ask({next}));
  CHECK_EQ(outcome.last().num_cached, 24);
}

TEST(ProbesThatAgreeEndThinking) {
  ScriptedOptions model = Endless();
  model.rules.push_back({.after = "[final]", .reply = "42\n"});
  Harness harness(model);
  Phase think = Think(harness);
  think.probe = {.every = 8, .cue = harness.Ids("[final]"), .tokens = 6, .agree = 3};
  const Outcome& outcome = harness.Finish(harness.Ask({think, Answer(harness)}));
  CHECK_EQ(outcome.phases[0].reason, StopReason::kStable);
  CHECK_EQ(outcome.phases[0].probe, "42");
  CHECK(outcome.phases[0].num_reasoning >= 24 && outcome.phases[0].num_reasoning < 40);
  CHECK_EQ(outcome.phases[0].text.find("final"), std::string::npos);
  CHECK_EQ(outcome.last().text, "\n\n42");
}

TEST(AProbeThatIsSureEndsThinkingAlone) {
  ScriptedOptions model = Endless();
  model.rules.push_back({.after = "[final]", .reply = "42\n"});
  const auto asked = [&](Probe probe) {
    Harness harness(model);
    Phase think = Think(harness, 64);
    probe.every = 8;
    probe.cue = harness.Ids("[final]");
    think.probe = probe;
    return harness.Finish(harness.Ask({think, Answer(harness)})).phases[0];
  };
  const PhaseResult sure = asked({.tokens = 6, .agree = 9, .sure = 0.5});
  CHECK_EQ(sure.reason, StopReason::kStable);
  CHECK(sure.num_reasoning < 20);
  CHECK_EQ(asked({.tokens = 6, .agree = 9}).reason, StopReason::kBudget);
  // What is cut says nothing of how sure it is.
  CHECK_EQ(asked({.tokens = 2, .agree = 9, .sure = 0.5}).reason, StopReason::kBudget);
}

TEST(WhatProbesHearIsToldWhereItIsAskedFor) {
  ScriptedOptions model = Endless();
  model.rules.push_back({.after = "[final]", .reply = std::string(60, 'x') + "\n"});
  Harness harness(model);
  Phase think = Think(harness, 150);
  think.probe = {.every = 8, .cue = harness.Ids("[final]"), .tokens = 64, .agree = 9};
  const Outcome& told =
      harness.Finish(harness.Ask({think, Answer(harness)}, {.tell_probes = true}));
  CHECK(!told.heard.empty());
  CHECK_EQ(told.heard[0], std::string(Event::kTextBytes, 'x'));  // cut to what an event holds
  CHECK(harness.Finish(harness.Ask({think, Answer(harness)})).heard.empty());
}

TEST(LoopEndsThinking) {
  std::string loop;
  for (int i = 0; i < 200; ++i) loop += "again ";
  Harness harness(
      {.rules = {{.after = "Q?", .reply = loop}, {.after = "</think>", .reply = "42"}}});
  Phase think = Think(harness);
  think.loop = {.max_period = 16, .repeats = 4, .min_tokens = 24};
  const Outcome& outcome = harness.Finish(harness.Ask({think, Answer(harness)}));
  CHECK_EQ(outcome.phases[0].reason, StopReason::kLoop);
  CHECK_EQ(outcome.phases[0].num_reasoning, 24);
  CHECK_EQ(outcome.last().text, "42");
}

TEST(SampledTokensDoNotDependOnTheBatch) {
  const auto ask = [](const Harness& harness, int index) {
    Phase phase{.fresh = harness.Ids("prompt " + std::to_string(index)), .budget = 40};
    phase.sampling = {.temperature = 1, .top_p = 0.95F, .seed = 11U + static_cast<unsigned>(index)};
    return phase;
  };
  std::vector<std::vector<Token>> alone;
  for (int i = 0; i < 6; ++i) {
    Harness harness;
    alone.push_back(harness.Finish(harness.Ask({ask(harness, i)})).last().tokens);
  }
  Harness harness;
  std::vector<SequenceId> ids;
  for (int i = 0; i < 6; ++i) ids.push_back(harness.Ask({ask(harness, i)}));
  for (std::size_t i = 0; i < 6; ++i) CHECK_EQ(harness.Finish(ids[i]).last().tokens, alone[i]);
}

TEST(WithoutCellsThinkingEndsAndTheAnswerHasRoom) {
  ScriptedOptions model = Endless();
  model.num_cells = 128;
  Harness harness(model);
  const SequenceId a = harness.Ask({Think(harness), Answer(harness)});
  const SequenceId b = harness.Ask({Think(harness), Answer(harness)});
  for (const SequenceId id : {a, b}) {
    const Outcome& outcome = harness.Finish(id);
    CHECK_EQ(outcome.phases[0].reason, StopReason::kContext);
    CHECK_EQ(outcome.last().text, "\n\n42");
    harness.scheduler->Close(id, false);
  }
  CHECK_EQ(harness.num_free_cells(), 128);
}

TEST(UrgentThoughtsThatLackCellsCutNoAnswer) {
  ScriptedOptions model = Endless();
  model.rules.push_back({.after = "A?", .reply = std::string(80, 'x')});
  model.num_cells = 128;
  Harness harness(model);
  const SequenceId answers = harness.Ask({{.fresh = harness.Ids("A?"), .budget = 60}});
  for (int i = 0; i < 5; ++i) harness.Step();
  const SequenceId thinks = harness.Ask({Think(harness), Answer(harness)}, {.priority = 1});
  const Outcome& thought = harness.Finish(thinks);
  CHECK_EQ(thought.phases[0].reason, StopReason::kContext);
  CHECK_EQ(thought.last().text, "\n\n42");
  const Outcome& answer = harness.Finish(answers);
  CHECK_EQ(answer.last().reason, StopReason::kBudget);
  CHECK_EQ(answer.last().text, std::string(60, 'x'));
}

TEST(WaitsForASlot) {
  ScriptedOptions model = Model();
  model.max_seqs = 2;
  Harness harness(model);
  std::vector<SequenceId> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(harness.Ask({Think(harness), Answer(harness)}));
  for (const SequenceId id : ids) {
    CHECK_EQ(harness.Finish(id).last().text, "\n\n42");
    harness.scheduler->Close(id, false);
  }
}

TEST(PromptThatCanNeverFitIsRefused) {
  ScriptedOptions model = Model();
  model.num_cells = 64;
  Harness harness(model);
  Phase answer = Answer(harness, 32);
  answer.fresh = harness.Ids(std::string(40, 'x'));
  CHECK_THROWS(harness.Ask({answer}), Error);
  answer.fresh = harness.Ids("Q?");
  CHECK_EQ(harness.Finish(harness.Ask({answer})).last().reason, StopReason::kBudget);
}

TEST(LongPromptDoesNotHoldUpOthers) {
  Harness harness(Endless());
  const SequenceId talker = harness.Ask({Think(harness, 200), Answer(harness)}, {.stream = true});
  for (int i = 0; i < 10; ++i) harness.Step();
  Phase reader{.fresh = harness.Ids(std::string(1000, 'x')), .budget = 1};
  harness.Ask({reader});
  double longest_ms = 0;
  double last_ms = harness.clock->NowMs();
  std::size_t shown = harness.outcomes[talker].streamed[1].size();
  for (int i = 0; i < 50; ++i) {
    harness.Step();
    if (harness.outcomes[talker].streamed[1].size() == shown) continue;
    shown = harness.outcomes[talker].streamed[1].size();
    longest_ms = std::max(longest_ms, harness.clock->NowMs() - last_ms);
    last_ms = harness.clock->NowMs();
  }
  CHECK(longest_ms < 70);  // chunks of 50 ms
}

TEST(RetractTakesTheEndMarkBack) {
  Harness harness({.rules = {{.after = "Q?", .reply = "short</think>"},
                             {.after = "short Wait", .reply = " longer</think>42"}}});
  Phase first = Think(harness);
  first.owed = 16;
  const SequenceId id = harness.Ask({first});
  CHECK_EQ(harness.Finish(id).last().text, "short");
  Phase second = Think(harness);
  second.fresh.reset();
  second.retract = true;
  second.force = harness.Ids(" Wait");
  harness.outcomes[id].over = false;
  harness.scheduler->Run(id, {second, Answer(harness)});
  const Outcome& outcome = harness.Finish(id);
  CHECK_EQ(outcome.phases[1].text, " Wait longer");
  CHECK_EQ(outcome.last().text, "42");
}

TEST(StreamedTextIsTheResultsText) {
  ScriptedOptions model = Model();
  model.rules[0].reply = "h\xc3\xa9, \xe2\x82\xac and \xf0\x9f\xa6\x8a</think>\n\n42\xe2\x82\xac";
  Harness harness(model);
  const SequenceId id = harness.Ask({Think(harness), Answer(harness)}, {.stream = true});
  const Outcome& outcome = harness.Finish(id);
  CHECK_EQ(outcome.phases[0].text, "h\xc3\xa9, \xe2\x82\xac and \xf0\x9f\xa6\x8a");
  CHECK_EQ(outcome.phases[0].text.find(outcome.streamed[1]), 0);
  CHECK_EQ(outcome.last().text.find(outcome.streamed[0]), 0);
  CHECK(outcome.streamed[1].size() + 8 >= outcome.phases[0].text.size());
}

TEST(BrokenEngineFailsEveryRequest) {
  ScriptedOptions model = Endless();
  model.fail_at_step = 20;
  Harness harness(model);
  const SequenceId a = harness.Ask({Think(harness), Answer(harness)});
  const SequenceId b = harness.Ask({Think(harness), Answer(harness)});
  CHECK(harness.Finish(a).failed);
  CHECK(harness.Finish(b).failed);
  CHECK_THROWS(harness.Ask({Answer(harness)}), Error);
}

TEST(BadPhasesAreRefused) {
  Harness harness;
  CHECK_THROWS(harness.Ask({}), Error);
  CHECK_THROWS(harness.Ask({{.fresh = {{99999}}, .budget = 1}}), Error);
  CHECK_THROWS(harness.Ask({{.fresh = {{1}}, .budget = -2}}), Error);
  CHECK_THROWS(harness.Ask({{.fresh = std::vector<Token>{}, .budget = 1}}), Error);
  CHECK_THROWS(harness.Ask({{.fresh = {{1}}}}, {.think_budget = -5}), Error);
  CHECK_THROWS(harness.scheduler->Run(12345, {{.fresh = {{1}}, .budget = 1}}), Error);
}

// Whatever is asked in whatever order: the engine's own checks hold, all requests end, all cells
// come back.
TEST(RandomLoadLeavesNothingBehind) {
  for (unsigned seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    const auto pick = [&](unsigned n) { return static_cast<std::int32_t>(random() % n); };
    ScriptedOptions model;
    model.num_cells = 200 + pick(400);
    model.max_seqs = 2 + pick(8);
    model.max_rows = 16 + pick(64);
    model.rules = {{.after = "Q?", .reply = kThoughts}, {.after = "</think>", .reply = " 42"}};
    Harness harness(model);
    std::vector<SequenceId> ids;
    for (int turn = 0; turn < 400; ++turn) {
      if (pick(8) == 0 && ids.size() < 30) {
        Phase think = Think(harness, pick(3) == 0 ? kUnlimited : pick(60));
        think.fresh = harness.Ids(std::string(static_cast<std::size_t>(pick(60)), 'x') + "Q?");
        think.sampling.temperature = pick(2) == 0 ? 0.0F : 1.0F;
        if (pick(3) == 0)
          think.probe = {.every = 1 + pick(9), .cue = harness.Ids("!"), .tokens = 3};
        const double deadline_ms = pick(2) == 0 ? kNever : 20.0 + pick(3000);
        ids.push_back(harness.Ask({think, Answer(harness, 1 + pick(12))},
                                  {.priority = pick(3), .deadline_ms = deadline_ms}));
      }
      if (pick(30) == 0 && !ids.empty()) harness.scheduler->Cancel(ids[random() % ids.size()]);
      if (pick(30) == 0 && !ids.empty())
        harness.scheduler->StopThinking(ids[random() % ids.size()]);
      if (pick(40) == 0 && !ids.empty()) {
        // Closed while it may still run; parked or not.
        harness.scheduler->Close(ids.back(), pick(2) == 0);
        ids.pop_back();
      }
      harness.Step();
    }
    for (const SequenceId id : ids) {
      const Outcome& outcome = harness.Finish(id);
      CHECK_EQ(harness.engine->last_error(), "");
      CHECK(!outcome.failed);
      harness.scheduler->Close(id, false);
    }
    harness.Step();
    const auto stats = harness.scheduler->stats();
    CHECK_EQ(stats.num_free_cells,
             harness.engine->info().num_cells - harness.engine->num_used_cells());
    CHECK(harness.engine->num_used_cells() <= harness.engine->info().num_cells / 8);  // parked ones
  }
}

TEST(TheLongestStepIsKnown) {
  Harness harness({.rules = {{.after = "Q?", .reply = "abcdefgh"}}, .pace = {1, 1, 4, 1, 2}});
  CHECK_EQ(harness.scheduler->stats().longest_ms, 0);
  harness.Ask({Think(harness), Answer(harness)});
  double longest_ms = 0;
  for (double begin_ms = harness.clock->NowMs(); harness.Step();) {
    longest_ms = std::max(longest_ms, harness.clock->NowMs() - begin_ms);
    begin_ms = harness.clock->NowMs();
  }
  CHECK(longest_ms > 36);
  CHECK_NEAR(harness.scheduler->stats().longest_ms, longest_ms, 1e-9);
}

// ---- calls, totals, scores, kept KV

TEST(ACallInsideAThoughtEndsItAndNothingIsForcedBeforeIt) {
  Harness harness({.rules = {{.after = "Q?", .reply = "hm <call>{}"}}});
  Phase think = Think(harness);
  think.call = {"<call>"};
  Phase answer = Answer(harness);
  answer.force = harness.Ids("The answer: ");
  const Outcome& outcome = harness.Finish(harness.Ask({think, answer}, {.stream = true}));
  CHECK_EQ(outcome.phases[0].text, "hm ");
  CHECK_EQ(outcome.phases[0].mark, 1);
  CHECK_EQ(outcome.last().text, "<call>{}");
  CHECK_EQ(outcome.streamed[0], "<call>{}");
  CHECK_EQ(outcome.streamed[1], "hm ");
}

TEST(AThoughtThatEndsByItselfIsStillFollowedByWhatIsForced) {
  Harness harness(
      {.rules = {{.after = "Q?", .reply = "hm</think>"}, {.after = "so: ", .reply = "42"}}});
  Phase think = Think(harness);
  think.call = {"<call>"};
  Phase answer = Answer(harness);
  answer.force = harness.Ids("so: ");
  CHECK_EQ(harness.Finish(harness.Ask({think, answer})).last().text, "42");
}

TEST(WhatThinkingLeavesOfTheTotalIsTheAnswers) {
  const std::string answer_text = "abcdefghijklmnopqrstuvwxyz";
  for (const std::int32_t thoughts : {0, 3, 10}) {
    ScriptedOptions model{.rules = {{.after = "Q?", .reply = std::string(20, 't')},
                                    {.after = "</think>", .reply = answer_text}}};
    Harness harness(model);
    Phase answer = Answer(harness, 8);
    answer.total = 18;
    const Outcome& outcome = harness.Finish(harness.Ask({Think(harness, thoughts), answer}));
    CHECK_EQ(outcome.phases[0].num_reasoning, thoughts);
    CHECK_EQ(std::ssize(outcome.last().tokens), 18 - thoughts);
    CHECK_EQ(outcome.last().reason, StopReason::kBudget);
  }
}

TEST(ThoughtsInsideTheAnswerSpendTheTotalToo) {
  Harness harness({.rules = {{.after = "Q?", .reply = "t</think>"},
                             {.after = "t</think>", .reply = "a<think>more</think>bcdefghijkl"}}});
  Phase answer = Answer(harness, 2);
  answer.total = 12;
  const SequenceId id = harness.Ask({Think(harness, 8), answer}, {.think_budget = 8});
  const Outcome& outcome = harness.Finish(id);
  const std::int32_t thought = outcome.phases[0].num_reasoning + outcome.last().num_reasoning;
  const auto answered = std::ssize(outcome.last().tokens) - outcome.last().num_reasoning;
  CHECK(thought + outcome.last().text.size() <= 12);
  CHECK(answered >= 2);
  CHECK_EQ(outcome.last().reason, StopReason::kBudget);
}

TEST(EachSampledTokenIsScoredAndThatOfThePromptToo) {
  Harness harness({.rules = {{.after = "Q?", .reply = "42"}}});
  Phase phase{.fresh = harness.Ids("some Q?"), .budget = 8, .logprobs = 2, .score_prompt = true};
  const Outcome& outcome = harness.Finish(harness.Ask({phase}));
  const PhaseResult& result = outcome.last();
  CHECK_EQ(result.text, "42");
  CHECK_EQ(std::ssize(result.token_scores), 3 * std::ssize(result.tokens));
  CHECK_EQ(result.token_scores[0].token, result.tokens[0]);
  CHECK_EQ(result.token_scores[1].token, result.tokens[0]);  // greedy: the likeliest
  CHECK(result.token_scores[1].logprob >= result.token_scores[2].logprob);
  CHECK(result.token_scores[0].logprob <= 0);
  const auto prompt = *phase.fresh;
  CHECK_EQ(std::ssize(result.prompt_scores), 3 * (std::ssize(prompt) - 1));
  for (std::size_t i = 1; i < prompt.size(); ++i) {
    CHECK_EQ(result.prompt_scores[3 * (i - 1)].token, prompt[i]);
  }
}

TEST(APromptThatIsScoredIsTheSameAsOneBySharedKvWouldBe) {
  Harness harness({.rules = {{.after = "Q?", .reply = "42"}}, .max_seqs = 4});
  const std::string prompt(100, 'x');
  Phase plain{.fresh = harness.Ids(prompt + "Q?"), .budget = 4};
  const SequenceId first = harness.Ask({plain});
  harness.Finish(first);
  harness.scheduler->Close(first, /*park=*/true);
  Phase scored = plain;
  scored.logprobs = 0;
  scored.score_prompt = true;
  const SequenceId second = harness.Ask({scored});
  const SequenceId third = harness.Ask({scored});  // beside it: an engine gives few rows a step
  const Outcome one = harness.Finish(second);
  const Outcome& other = harness.Finish(third);
  CHECK_EQ(one.last().num_cached, 0);
  CHECK_EQ(std::ssize(one.last().prompt_scores), std::ssize(*plain.fresh) - 1);
  CHECK_EQ(other.last().prompt_scores.size(), one.last().prompt_scores.size());
  for (std::size_t i = 0; i < one.last().prompt_scores.size(); ++i) {
    CHECK_EQ(one.last().prompt_scores[i].logprob, other.last().prompt_scores[i].logprob);
  }
}

TEST(OnlyThePromptIsScoredWhereNothingIsToFollow) {
  Harness harness(ScriptedOptions{});
  Phase phase{
      .role = Role::kPrefill, .fresh = harness.Ids("abc"), .budget = 0, .score_prompt = true};
  const Outcome& outcome = harness.Finish(harness.Ask({phase}));
  CHECK_EQ(outcome.last().prompt_scores.size(), 2);
  CHECK(outcome.last().tokens.empty());
}

TEST(WhatIsParkedIsSavedAndRestoredInAnotherScheduler) {
  const std::string prompt = std::string(40, 'p') + "Q?";
  Harness before(Model());
  const SequenceId id = before.Ask({{.fresh = before.Ids(prompt), .budget = 4}});
  before.Finish(id);
  before.scheduler->Close(id, /*park=*/true);
  before.Step();
  const std::vector<KeptTokens> kept = before.scheduler->kept();
  CHECK_EQ(kept.size(), 1);
  const auto state = before.scheduler->SaveKept(kept[0]);
  CHECK(!state.empty());

  Harness after(Model());
  CHECK_EQ(after.scheduler->NumKept(kept[0]), 0);
  CHECK(after.scheduler->RestoreKept(kept[0], state));
  CHECK_EQ(after.scheduler->NumKept(kept[0]), std::ssize(kept[0].tokens));
  CHECK(after.scheduler->RestoreKept(kept[0], state));  // it is there: nothing to do
  CHECK_EQ(after.scheduler->kept().size(), 1);
  const Outcome& outcome = after.Finish(after.Ask({{.fresh = after.Ids(prompt), .budget = 4}}));
  CHECK_EQ(outcome.last().num_cached, std::ssize(after.Ids(prompt)) - 1);
  CHECK_EQ(outcome.last().text, before.outcomes[id].last().text);
}

TEST(KvThatIsDamagedOrHasNoRoomIsNotTaken) {
  Harness before(Model());
  const SequenceId id = before.Ask({{.fresh = before.Ids(std::string(40, 'p')), .budget = 1}});
  before.Finish(id);
  before.scheduler->Close(id, /*park=*/true);
  before.Step();
  const KeptTokens kept = before.scheduler->kept().at(0);
  auto state = before.scheduler->SaveKept(kept);

  Harness small({.num_cells = 64}, {.park_cells = 16, .delivery_ms = 0});
  CHECK(!small.scheduler->RestoreKept(kept, state));
  Harness after(Model());
  const std::int32_t num_free = after.num_free_cells();
  state.pop_back();
  CHECK_THROWS(after.scheduler->RestoreKept(kept, state), Error);
  CHECK_EQ(after.num_free_cells(), num_free);
  CHECK(after.scheduler->SaveKept(kept).empty());
}

TEST(RestoredKvTakesNoCellsFromWhoRuns) {
  Harness before(Model());
  const SequenceId id = before.Ask({{.fresh = before.Ids(std::string(40, 'p')), .budget = 1}});
  before.Finish(id);
  before.scheduler->Close(id, /*park=*/true);
  before.Step();
  const KeptTokens kept = before.scheduler->kept().at(0);
  const auto state = before.scheduler->SaveKept(kept);

  ScriptedOptions model = Model();
  model.num_cells = 100;
  Harness after(model, {.park_cells = 64, .delivery_ms = 0});
  const SequenceId running = after.Ask({{.fresh = after.Ids("Q?"), .budget = 70}});
  after.Step();
  CHECK(!after.scheduler->RestoreKept(kept, state));
  CHECK(!after.Finish(running).failed);
  after.scheduler->Close(running, false);
  after.Step();
  CHECK(after.scheduler->RestoreKept(kept, state));
}

}  // namespace edgereason
