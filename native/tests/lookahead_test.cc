#include "policy/lookahead.h"

#include <array>
#include <string>
#include <vector>

#include "check.h"
#include "harness.h"

namespace edgereason {
namespace {

using test::Harness;
using test::Outcome;

std::vector<ContextItem> Items(const std::string& text) {
  std::vector<ContextItem> items;
  for (const char letter : text) items.push_back(ContextItem::OfToken(letter));
  return items;
}

std::string Next(const std::vector<ContextItem>& items, std::size_t num = 4) {
  std::array<Token, kMostAhead> guesses{};
  const Guessed found = GuessNext(items, std::span(guesses).first(num));
  return {guesses.begin(), guesses.begin() + found.num};
}

// Steps of one row take 10 ms, each further row takes `row_ms`.
CostModel Cost(double row_ms) {
  CostModel cost;
  std::array<double, CostModel::kNumKnots> knots{};
  for (std::size_t i = 0; i < knots.size(); ++i) {
    knots[i] = 10 + row_ms * (static_cast<double>(1 << i) - 1);
  }
  cost.Restore(knots, 1e-9);
  return cost;
}

ScriptedOptions Repeating() {
  std::string list;
  for (int i = 0; i < 12; ++i)
    list += "{\"name\": \"box\", \"weight\": " + std::to_string(i) + "}, ";
  return {.rules = {{.after = "Q?", .reply = "I list them all.</think>"},
                    {.after = "</think>", .reply = list}}};
}

std::vector<Phase> Chain(const Harness& harness, std::int32_t budget) {
  return {test::Think(harness), test::Answer(harness, budget)};
}

}  // namespace

TEST(GuessesGoOnFromWhereTheTextStoodBefore) {
  CHECK_EQ(Next(Items("the cat, the ")), "cat,");
  CHECK_EQ(Next(Items("the cat, the "), 2), "ca");
  CHECK_EQ(Next(Items("abcx abcy abc")), "y ab");     // the latest of two that match as far
  CHECK_EQ(Next(Items("xabc1 yabc2 xabc")), "1 ya");  // the longest
  CHECK_EQ(Next(Items("abcabc"), 7), "abcabca");      // what ends with the text goes round
}

TEST(WhatIsNewIsNotGuessed) {
  CHECK_EQ(Next({}), "");
  CHECK_EQ(Next(Items("a")), "");
  CHECK_EQ(Next(Items("abab")), "");  // two tokens are found everywhere
  CHECK_EQ(Next(Items("the cat")), "");
}

TEST(NothingIsGuessedBehindWhatIsNoToken) {
  std::vector<ContextItem> items = Items("abc1");
  items.push_back(ContextItem::Latent());
  for (const ContextItem item : Items("23abc")) items.push_back(item);
  CHECK_EQ(Next(items), "1");
  std::vector<ContextItem> latents(9, ContextItem::Latent());
  CHECK_EQ(Next(latents), "");
}

TEST(TheLengthOfTheMatchIsTold) {
  std::array<Token, 4> guesses{};
  CHECK_EQ(GuessNext(Items("xabc1 yabc2 xabc"), guesses).match, 4);
  CHECK_EQ(GuessNext(Items(std::string(99, 'x')), guesses).match, 24);  // more tell nothing
  CHECK_EQ(GuessNext(Items("the cat"), guesses).match, 0);
}

TEST(AsManyAreWorthItAsPay) {
  CHECK_EQ(Lookahead{}.NumWorth(Cost(0.1), 1, {8, 12}), 8);
  CHECK_EQ(Lookahead{}.NumWorth(Cost(10), 1, {8, 12}), 0);
  CHECK_EQ(Lookahead{}.NumWorth(Cost(2), 1, {0, 0}), 0);
  const std::int32_t few = Lookahead{}.NumWorth(Cost(2), 1, {8, 3});
  const std::int32_t more = Lookahead{}.NumWorth(Cost(2), 1, {8, 12});
  CHECK(few > 0);
  CHECK(few < more);
}

TEST(WhereGuessesAreWrongItRests) {
  const CostModel cost = Cost(2);
  Lookahead lookahead;
  std::int32_t num_tries = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::int32_t num = lookahead.NumWorth(cost, 1, {8, 3});
    if (num == 0) continue;
    ++num_tries;
    lookahead.Learn(num, 0);
  }
  CHECK(num_tries > 2);
  CHECK(num_tries < 60);
  CHECK(lookahead.NumWorth(cost, 1, {8, 12}) > 0);  // that says nothing of long matches
  for (int i = 0; i < 5000; ++i) {
    const std::int32_t num = lookahead.NumWorth(cost, 1, {8, 3});
    if (num > 0) lookahead.Learn(num, num);
  }
  CHECK_EQ(lookahead.NumWorth(cost, 1, {8, 3}), 8);
}

TEST(NoTokenChangesAndStepsAreSaved) {
  for (const std::int32_t budget : {1, 2, 3, 17, 100, 1000}) {
    Harness plain(Repeating());
    Harness ahead(Repeating(), {.delivery_ms = 0, .lookahead = 8});
    const Outcome& one = plain.Finish(plain.Ask(Chain(plain, budget), {.stream = true}));
    const Outcome& two = ahead.Finish(ahead.Ask(Chain(ahead, budget), {.stream = true}));
    CHECK_EQ(one.last().tokens, two.last().tokens);
    CHECK_EQ(one.last().text, two.last().text);
    CHECK_EQ(one.last().reason, two.last().reason);
    CHECK(two.last().text.starts_with(two.streamed[0]));  // the rest comes with the end
    CHECK_EQ(one.last().num_drafted, 0);
    if (budget < 100) continue;
    CHECK(two.last().num_accepted > 20);
    CHECK(two.last().num_accepted <= two.last().num_drafted);
    CHECK_EQ(two.last().num_steps + two.last().num_accepted, one.last().num_steps);
  }
}

// Draws are numbered by tokens, so what is drawn is what would have been drawn one by one.
TEST(DrawnTokensAreTheSame) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<Token> tokens[2];
    for (const std::int32_t lookahead : {0, 6}) {
      Harness harness(Repeating(), {.delivery_ms = 0, .lookahead = lookahead});
      std::vector<Phase> chain = Chain(harness, 120);
      chain.back().sampling = {.temperature = 3, .repetition_penalty = 1.01F, .seed = seed};
      tokens[lookahead != 0] = harness.Finish(harness.Ask(chain)).last().tokens;
    }
    CHECK_EQ(tokens[0], tokens[1]);
  }
}

TEST(WhatWasGuessedInVainIsNotKept) {
  Harness harness(Repeating(), {.park_cells = 0, .delivery_ms = 0, .lookahead = 32});
  const SequenceId id = harness.Ask(Chain(harness, 300));
  harness.Finish(id);
  harness.Step();
  const Outcome& outcome = harness.outcomes[id];
  CHECK(outcome.last().num_accepted < outcome.last().num_drafted);
  CHECK_EQ(outcome.last().num_cells, harness.engine->num_used_cells());
  harness.scheduler->Close(id, /*park=*/false);
  CHECK_EQ(harness.num_free_cells(), harness.engine->info().num_cells);
}

TEST(ADeadlineIsKept) {
  for (const double deadline_ms : {200.0, 500.0, 1000.0}) {
    Harness harness(Repeating(), {.delivery_ms = 0, .lookahead = 32});
    const double begin_ms = harness.clock->NowMs();
    const Outcome& outcome =
        harness.Finish(harness.Ask(Chain(harness, 1000), {.deadline_ms = deadline_ms}));
    CHECK(outcome.end_ms <= begin_ms + deadline_ms);
    CHECK(outcome.last().tokens.size() > 3);
  }
}

TEST(AnEngineThatTakesNothingBackRefuses) {
  CHECK_THROWS(Harness({.caps = kLogits | kFork}, {.lookahead = 4}), Error);
  CHECK_THROWS(Harness({}, {.lookahead = -1}), Error);
  CHECK_THROWS(Harness({}, {.lookahead = 33}), Error);
}

}  // namespace edgereason
