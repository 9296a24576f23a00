#include "loop/drafter.h"

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "harness.h"

namespace edgereason {
namespace {

using test::Harness;
using test::Outcome;

constexpr const char* kStory = "one two three four five six seven eight nine ten eleven twelve";

ScriptedOptions Telling(const std::string& story) {
  return {.rules = {{.after = "Q?", .reply = "Well, well.</think>"},
                    {.after = "</think>", .reply = story}}};
}

std::vector<Phase> Chain(const Harness& harness, std::int32_t budget = 100) {
  return {test::Think(harness), test::Answer(harness, budget)};
}

// A draft model and what it guesses behind a text.
struct Drafting {
  std::shared_ptr<ManualClock> clock = std::make_shared<ManualClock>();
  ScriptedEngine engine;
  Drafter drafter{&engine, clock.get(), engine.vocab().pieces.size()};
  std::array<Token, 8> guesses{};

  explicit Drafting(std::int32_t num_cells = 4096)
      : engine({.rules = {{.after = "Q?", .reply = kStory}},
                .num_cells = num_cells,
                .clock = clock,
                .step_ms = 1}) {}

  std::vector<ContextItem> Items(const std::string& text) const {
    std::vector<ContextItem> items;
    for (const Token token : engine.Tokenize(text, true)) {
      items.push_back(ContextItem::OfToken(token));
    }
    return items;
  }

  std::string Next(const std::string& text, SeqId seq = 0, std::size_t most = 8) {
    const std::int32_t num = drafter.Draft(seq, Items(text), std::span(guesses).first(most));
    std::string guessed;
    for (std::int32_t i = 0; i < num; ++i) {
      guessed += engine.vocab().Piece(guesses[static_cast<std::size_t>(i)]);
    }
    return guessed;
  }
};

}  // namespace

TEST(ItGoesOnWithWhatItExpects) {
  Drafting drafting;
  CHECK_EQ(drafting.Next("Q?"), "one two ");
  CHECK_EQ(drafting.Next("Q?one"), " two thr");
  CHECK_EQ(drafting.Next("Q?one", 0, 3), " tw");
  CHECK_EQ(drafting.Next("Q?", 1), "one two ");
  CHECK_EQ(drafting.Next(std::string("Q?") + kStory), "");  // the text ends
  CHECK_EQ(drafting.Next("Q?one two three four five"), " six sev");
  CHECK_EQ(drafting.Next("Nobody knows"), "");  // it is unsure
  CHECK_EQ(drafting.Next("Q?one"), " two thr");
}

TEST(WhatIsReadIsNotReadAgain) {
  Drafting drafting;
  const std::string prompt = std::string(40, 'x') + "Q?";
  CHECK_EQ(drafting.drafter.NumUnread(0, drafting.Items(prompt)), 42);
  CHECK_EQ(drafting.Next(prompt, 0, 1), "o");
  CHECK_EQ(drafting.drafter.NumUnread(0, drafting.Items(prompt + "one")), 3);
  CHECK_EQ(drafting.Next(prompt + "one", 0, 1), " ");
  CHECK_EQ(drafting.engine.num_steps(), 2);
  // Nor by a sequence that begins alike: it is forked.
  CHECK_EQ(drafting.drafter.NumUnread(1, drafting.Items(prompt + "one t")), 2);
  const std::int32_t num_cells = drafting.engine.num_used_cells();
  CHECK_EQ(drafting.Next(prompt + "one t", 1, 1), "w");
  CHECK_EQ(drafting.engine.num_used_cells(), num_cells + 2);
}

TEST(NoStepReadsMuchAtOnce) {
  Drafting drafting;
  const std::string prompt = std::string(150, 'x') + "Q?";
  CHECK_EQ(drafting.Next(prompt), "");
  CHECK_EQ(drafting.drafter.NumUnread(0, drafting.Items(prompt)), 152 - 64);
  CHECK_EQ(drafting.Next(prompt), "");
  CHECK_EQ(drafting.Next(prompt), "one two ");
}

TEST(WhatIsNoTokenIsNotRead) {
  Drafting drafting;
  std::vector<ContextItem> items = drafting.Items("Q?");
  items.push_back(ContextItem::Latent());
  CHECK_EQ(drafting.drafter.NumUnread(0, items), Drafter::kNever);
  CHECK_EQ(drafting.drafter.Draft(0, items, drafting.guesses), 0);
  CHECK_EQ(drafting.engine.num_steps(), 0);
}

TEST(WithoutRoomOthersAreForgotten) {
  Drafting drafting(64);
  CHECK_EQ(drafting.Next(std::string(40, 'x') + "Q?", 0, 1), "o");
  CHECK_EQ(drafting.Next(std::string(40, 'y') + "Q?", 1, 1), "o");
  CHECK_EQ(drafting.engine.num_used_cells(), 42);
  CHECK_EQ(drafting.Next(std::string(70, 'z') + "Q?", 0), "");  // never
  CHECK(!drafting.drafter.failed());
}

TEST(NoTokenChangesAndStepsAreSaved) {
  for (const char* drafted : {kStory, "one two three 4 five six seven eight nine", "1 2 3"}) {
    for (const std::int32_t budget : {1, 2, 17, 100}) {
      Harness plain(Telling(kStory));
      Harness ahead(Telling(kStory), Telling(drafted), {.delivery_ms = 0, .lookahead = 8});
      const Outcome& one = plain.Finish(plain.Ask(Chain(plain, budget), {.stream = true}));
      const Outcome& two = ahead.Finish(ahead.Ask(Chain(ahead, budget), {.stream = true}));
      CHECK_EQ(one.last().tokens, two.last().tokens);
      CHECK_EQ(one.last().reason, two.last().reason);
      CHECK_EQ(two.last().num_steps + two.last().num_accepted, one.last().num_steps);
      CHECK(two.last().num_accepted <= two.last().num_drafted);
      if (budget == 100 && drafted == kStory) {
        CHECK(two.last().num_accepted > 30);
        CHECK(two.end_ms < 0.8 * one.end_ms);
      }
    }
  }
}

// Draws are numbered by tokens, so what is drawn is what would have been drawn one by one.
TEST(DrawnTokensAreTheSame) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<Token> tokens[2];
    for (const bool drafts : {false, true}) {
      Harness harness =
          drafts ? Harness(Telling(kStory), Telling(kStory), {.delivery_ms = 0, .lookahead = 6})
                 : Harness(Telling(kStory));
      std::vector<Phase> chain = Chain(harness);
      chain.back().sampling = {.temperature = 3, .seed = seed};
      tokens[drafts] = harness.Finish(harness.Ask(chain)).last().tokens;
    }
    CHECK_EQ(tokens[0], tokens[1]);
  }
}

TEST(WhoWantsFewTokensDoesNotWaitForADraft) {
  Harness harness(Telling(kStory), Telling(kStory), {.delivery_ms = 0, .lookahead = 8});
  const std::int64_t before = harness.draft->num_steps();
  const std::vector<Phase> chain = {
      {.fresh = harness.Ids(std::string(400, 'x') + "</think>"), .budget = 3}};
  CHECK_EQ(harness.Finish(harness.Ask(chain)).last().num_drafted, 0);
  CHECK_EQ(harness.draft->num_steps(), before);
}

TEST(OneThatIsNeverSureRests) {
  std::string story;
  for (int i = 0; i < 400; ++i) story += static_cast<char>('a' + i * i % 23);
  Harness harness(Telling(story), {}, {.delivery_ms = 0, .lookahead = 8});
  const std::int64_t before = harness.draft->num_steps();
  const Outcome& outcome = harness.Finish(harness.Ask(Chain(harness, 400)));
  CHECK_EQ(outcome.last().tokens.size(), std::size_t{400});
  CHECK(harness.draft->num_steps() - before > 3);
  CHECK(harness.draft->num_steps() - before < 100);
}

TEST(ADeadlineIsKept) {
  for (const double deadline_ms : {100.0, 200.0, 500.0}) {
    Harness harness(Telling(kStory), Telling(kStory), {.delivery_ms = 0, .lookahead = 32});
    const double begin_ms = harness.clock->NowMs();
    const Outcome& outcome =
        harness.Finish(harness.Ask(Chain(harness), {.deadline_ms = deadline_ms}));
    CHECK(outcome.end_ms <= begin_ms + deadline_ms);
  }
}

TEST(ADraftModelThatBreaksIsTold) {
  ScriptedOptions broken = Telling(kStory);
  broken.fail_at_step = 8;  // the warm-up has four
  Harness harness(Telling(kStory), broken, {.delivery_ms = 0, .lookahead = 8});
  const Outcome& outcome = harness.Finish(harness.Ask(Chain(harness)));
  CHECK(outcome.failed);
  CHECK(outcome.fault == Fault::kEngine);
  broken.fail_at_step = 1;
  CHECK_THROWS(Harness(Telling(kStory), broken, {.lookahead = 8}), Error);
}

TEST(WhatCannotGuessIsRefused) {
  const ScriptedOptions model;
  CHECK_THROWS(Harness(model, model, {.lookahead = 0}), Error);
  CHECK_THROWS(Harness(model, {.caps = kLogits}, {.lookahead = 8}), Error);
  CHECK_THROWS(Harness(model, {.words = {"other"}}, {.lookahead = 8}), Error);
  CHECK_THROWS(Harness(model, {.max_seqs = 2}, {.lookahead = 8}), Error);
}

}  // namespace edgereason
