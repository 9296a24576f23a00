// Answers with a grammar, in the loop.
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "harness.h"
#include "texts_grammar.h"

namespace edgereason {
namespace {

using test::Answer;
using test::Endless;
using test::Harness;
using test::Outcome;
using test::TextsGrammar;
using test::Think;

const std::string kYes = "{\"answer\": \"yes\"}";
const std::string kNo = "{\"answer\": \"no\"}";

// It thinks, and would answer with prose.
ScriptedOptions Model() {
  return {.rules = {{.after = "Q?", .reply = "one and two</think>\n\nThe answer is no."},
                    {.after = "</think>", .reply = "\n\nThe answer is no."},
                    {.after = "\": \"", .reply = "no\"}"}}};
}

Phase Guided(const Harness& harness, std::vector<std::string> texts, std::int32_t budget = 32,
             bool is_json = true) {
  Phase answer{.budget = budget};
  answer.grammar =
      std::make_shared<TextsGrammar>(harness.engine->vocab(), std::move(texts), is_json);
  return answer;
}

}  // namespace

TEST(TheAnswerFollowsTheGrammarAndThoughtsDoNot) {
  Harness harness(Model());
  const Outcome& outcome =
      harness.Finish(harness.Ask({Think(harness), Guided(harness, {kYes, kNo})}));
  CHECK_EQ(outcome.phases[0].text, "one and two");
  CHECK_EQ(outcome.phases[0].reason, StopReason::kStop);
  CHECK_EQ(outcome.last().text, kNo);
  CHECK_EQ(outcome.last().reason, StopReason::kStop);
}

TEST(WhatMustComeIsNotDrawn) {
  Harness harness(Model());
  const std::int64_t before = harness.scheduler->stats().num_sampled;
  const Outcome& outcome =
      harness.Finish(harness.Ask({Think(harness), Guided(harness, {kYes, kNo})}));
  harness.Step();
  const std::int64_t drawn = harness.scheduler->stats().num_sampled - before;
  // "one and two</think>" is 19 tokens of one byte; then "{" brings all up to the choice, and "n"
  // the rest.
  CHECK_EQ(drawn, 19 + 2);
  CHECK_EQ(outcome.last().tokens.size(), kNo.size());
  CHECK_EQ(outcome.last().num_steps, 2);
}

TEST(AnEndTokenComesOnlyWhereTheTextMayEnd) {
  // The model wants to end at once, and after each token.
  Harness harness(ScriptedOptions{.rules = {{.after = "Q?", .reply = ""}}});
  Phase answer = Guided(harness, {"abc", "abd"}, 8, false);
  answer.fresh = harness.Ids("Q?");
  const Outcome& outcome = harness.Finish(harness.Ask({answer}));
  CHECK(outcome.last().text == "abc" || outcome.last().text == "abd");
}

TEST(ACutAnswerIsMadeWhole) {
  const std::string longer = "{\"answer\": \"no" + std::string(100, 'o') + "\"}";
  Harness harness(ScriptedOptions{.rules = {{.after = "\": \"n", .reply = std::string(200, 'o')}}});
  for (std::int32_t budget = static_cast<std::int32_t>(kNo.size()); budget < 60; ++budget) {
    Phase answer = Guided(harness, {kNo, longer}, budget);
    answer.fresh = harness.Ids("Q?");
    const Outcome& outcome = harness.Finish(harness.Ask({answer}, {.stream = true}));
    CHECK_EQ(outcome.last().text, kNo);
    CHECK(std::ssize(outcome.last().tokens) <= budget);
  }
}

TEST(ABudgetTooShortForAnyValidTextStillGivesJson) {
  Harness harness(Model());
  Phase answer = Guided(harness, {kYes, kNo}, 14);
  answer.fresh = harness.Ids("Q?");
  const Outcome& outcome = harness.Finish(harness.Ask({answer}));
  CHECK_EQ(outcome.last().text, "{\"answe\":null}");  // 14 bytes, each of them a token
  CHECK_EQ(outcome.last().reason, StopReason::kBudget);
}

TEST(ADeadlineThatPassesInTheAnswerMakesItWhole) {
  // Steps take 10 ms, and the model never ends by itself.
  std::vector<std::string> texts;
  for (std::size_t num = 1; num < 300; num += 3) texts.push_back("[" + std::string(num, '1') + "]");
  Harness harness(ScriptedOptions{.rules = {{.after = "[", .reply = std::string(400, '1')}}});
  Phase answer = Guided(harness, texts, 400);
  answer.fresh = harness.Ids("Q?");
  const double begin_ms = harness.clock->NowMs();
  const Outcome& outcome = harness.Finish(harness.Ask({answer}, {.deadline_ms = 400}));
  CHECK_EQ(outcome.last().reason, StopReason::kDeadline);
  CHECK(outcome.last().text.size() > 10);
  CHECK(std::ranges::count(texts, outcome.last().text) == 1);
  CHECK(outcome.end_ms - begin_ms <= 400);
}

TEST(ACancelledAnswerIsMadeWhole) {
  Harness harness(Model());
  Phase answer = Guided(harness, {kYes, kNo});
  answer.fresh = harness.Ids("Q?");
  const SequenceId id = harness.Ask({answer});
  harness.scheduler->Cancel(id);
  const Outcome& outcome = harness.Finish(id);
  CHECK_EQ(outcome.last().reason, StopReason::kCancelled);
  CHECK_EQ(outcome.last().text, kNo);
}

TEST(MarksInTheTextAreText) {
  const std::string text = "{\"a\": \"<think>x</think>\"}";
  Harness harness(Model());
  const Outcome& outcome = harness.Finish(harness.Ask({Think(harness), Guided(harness, {text})}));
  CHECK_EQ(outcome.last().text, text);
  CHECK_EQ(outcome.last().reasoning, "");
}

// What is put when the answer ends is told with the end of the phase.
TEST(WhatIsStreamedIsTheBeginningOfTheAnswer) {
  Harness harness(Model());
  const SequenceId id =
      harness.Ask({Think(harness), Guided(harness, {kYes, kNo})}, {.stream = true});
  const Outcome& outcome = harness.Finish(id);
  CHECK_EQ(outcome.last().text, kNo);
  CHECK_EQ(outcome.streamed[static_cast<int>(Channel::kAnswer)], "{\"answer\": \"");
}

TEST(ProbesAreNotMasked) {
  Harness harness(Endless());
  Phase think = Think(harness, 20);
  think.probe = {.every = 5, .cue = harness.Ids("</think>"), .tokens = 4};
  const Outcome& outcome = harness.Finish(harness.Ask({think, Guided(harness, {kYes, kNo})}));
  CHECK_EQ(*outcome.phases[0].probe, "42");
  CHECK(outcome.last().text == kYes || outcome.last().text == kNo);
}

TEST(AGrammarThatGivesUpEndsTheAnswerAsItIsPlanned) {
  Harness harness(Model());
  Phase answer = Guided(harness, {kYes, kYes + " "});
  auto* const grammar = static_cast<TextsGrammar*>(answer.grammar.get());
  grammar->breaks = true;
  answer.fresh = harness.Ids("Q?");
  const Outcome& outcome = harness.Finish(harness.Ask({answer}));
  CHECK_EQ(outcome.last().text, kYes);
  CHECK_EQ(outcome.last().reason, StopReason::kBudget);
}

TEST(AGrammarIsForAnswersAlone) {
  Harness harness(Model());
  const SequenceId id = harness.scheduler->Open({});
  Phase think = Think(harness);
  think.grammar = Guided(harness, {kYes}).grammar;
  CHECK_THROWS(harness.scheduler->Run(id, {think}), Error);
  Phase answer = Guided(harness, {kYes});
  answer.fresh = harness.Ids("Q?");
  answer.stop = {"\n"};
  CHECK_THROWS(harness.scheduler->Run(id, {answer}), Error);
}

TEST(OthersInTheBatchAreNotMasked) {
  Harness harness(Model());
  Phase answer = Guided(harness, {kYes, kNo});
  answer.fresh = harness.Ids("Q?");
  const SequenceId guided = harness.Ask({answer});
  const SequenceId plain = harness.Ask({Think(harness), Answer(harness, 64)});
  CHECK_EQ(harness.Finish(plain).last().text, "\n\nThe answer is no.");
  CHECK_EQ(harness.Finish(guided).last().text, kNo);
}

}  // namespace edgereason
