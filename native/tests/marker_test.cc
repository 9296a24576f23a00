#include "policy/marker.h"

#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "edgereason/error.h"

namespace edgereason {
namespace {

using Event = MarkerTracker::Event;

// A tracker with the texts it has shown so far.
struct Story {
  MarkerTracker tracker;
  std::string answer{};
  std::string reasoning{};

  Event Feed(std::string_view piece) { return tracker.Feed(piece, &answer, &reasoning); }
  void Flush() { tracker.Flush(&answer, &reasoning); }
  void CheckTexts(std::string_view want_answer, std::string_view want_reasoning) const {
    CHECK_EQ(answer, want_answer);
    CHECK_EQ(reasoning, want_reasoning);
  }
};

Story Inside(std::vector<std::string> stop = {}) {
  return {.tracker = MarkerTracker({"<think>"}, {"</think>"}, std::move(stop), true)};
}

Story Outside(std::vector<std::string> stop = {}) {
  return {.tracker = MarkerTracker({"<think>"}, {"</think>"}, std::move(stop), false)};
}

TEST(ABlockTheTemplateOpenedIsShut) {
  Story story = Inside();
  CHECK_EQ(story.Feed("ok"), Event::kNone);
  CHECK_EQ(story.Feed("</think>"), Event::kShut);
  CHECK(!story.tracker.inside());
  story.CheckTexts("", "ok");
}

TEST(TextAfterAMarkInTheSameTokenIsAnswer) {
  Story story = Inside();
  CHECK_EQ(story.Feed("so 4.</th"), Event::kNone);
  story.CheckTexts("", "so 4.");
  CHECK_EQ(story.Feed("ink>\n\n4"), Event::kShut);
  story.CheckTexts("\n\n4", "so 4.");
}

TEST(EverySplitOfAMarkGivesTheSame) {
  const std::string text = "a<b</think>c\n<think>d</think>e";
  for (std::size_t first = 0; first <= text.size(); ++first) {
    for (std::size_t second = first; second <= text.size(); ++second) {
      Story story = Inside();
      story.Feed(text.substr(0, first));
      story.Feed(text.substr(first, second - first));
      story.Feed(text.substr(second));
      story.Flush();
      story.CheckTexts("c\ne", "a<bd");
      CHECK(!story.tracker.inside());
    }
  }
}

TEST(ABlockIsOpenedAgain) {
  Story story = Outside();
  CHECK_EQ(story.Feed("4. \n <think>"), Event::kOpened);
  CHECK(story.tracker.inside());
  CHECK_EQ(story.Feed("or 5?</think>"), Event::kShut);
  CHECK_EQ(story.Feed("5"), Event::kNone);
  story.CheckTexts("4. \n 5", "or 5?");
}

TEST(TheLastEventOfAPieceCounts) {
  CHECK_EQ(Outside().Feed("<think>a</think>"), Event::kShut);
  CHECK_EQ(Inside().Feed("a</think>b\n<think>"), Event::kOpened);
}

TEST(ASecondEndMarkAfterAForcedOneIsDropped) {
  Story story = Inside();
  story.Feed("hmm");
  story.tracker.ForceShut(&story.reasoning);
  CHECK(!story.tracker.inside());
  CHECK_EQ(story.Feed("</th"), Event::kNone);
  CHECK_EQ(story.Feed("ink>42"), Event::kNone);
  story.CheckTexts("42", "hmm");
}

TEST(AForcedEndGivesHeldBytesToReasoning) {
  Story story = Inside();
  story.Feed("a <</thi");
  CHECK_EQ(story.tracker.num_held(), 5);
  story.tracker.ForceShut(&story.reasoning);
  CHECK_EQ(story.tracker.num_held(), 0);
  CHECK_EQ(story.Feed("nk>"), Event::kNone);  // not the rest of a mark any more
  story.CheckTexts("nk>", "a <</thi");
}

TEST(AForcedEndOutsideABlockChangesNothing) {
  Story story = Outside({"END"});
  story.Feed("4EN");
  story.tracker.ForceShut(&story.reasoning);
  CHECK_EQ(story.Feed("D"), Event::kStop);
  story.CheckTexts("4", "");
}

TEST(AnOpenMarkInsideABlockIsDropped) {
  Story story = Inside();
  CHECK_EQ(story.Feed("<think>\nso"), Event::kNone);
  CHECK(story.tracker.inside());
  story.CheckTexts("", "\nso");
}

TEST(AStopTextEndsTheAnswerAndDropsTheRest) {
  Story story = Outside({"\nQ:"});
  CHECK_EQ(story.Feed("42\n"), Event::kNone);
  story.CheckTexts("42", "");
  CHECK_EQ(story.Feed("Q: next <think>"), Event::kStop);
  story.CheckTexts("42", "");
}

TEST(AStopTextInsideABlockIsText) {
  Story story = Inside({"\n\n"});
  CHECK_EQ(story.Feed("a\n\nb"), Event::kNone);
  CHECK_EQ(story.Feed("</think>c\n\nd"), Event::kStop);
  story.CheckTexts("c", "a\n\nb");
}

TEST(AStopTextHidesNoMarkThatItOverlaps) {
  Story story = Inside({"ink"});
  CHECK_EQ(story.Feed("a</think>b"), Event::kShut);
  story.CheckTexts("b", "a");
}

TEST(OneTextCanOpenAndShut) {
  Story story{.tracker = MarkerTracker({"||"}, {"||"}, {}, false)};
  CHECK_EQ(story.Feed("a\n||"), Event::kOpened);
  CHECK_EQ(story.Feed("b||c"), Event::kShut);
  story.CheckTexts("a\nc", "b");
}

TEST(AStrayEndMarkThatIsAStopTextStops) {
  Story story = Outside({"</think>"});
  CHECK_EQ(story.Feed("a</think>b"), Event::kStop);
  story.CheckTexts("a", "");
}

TEST(OfSeveralMarksEachWorks) {
  Story story{.tracker = MarkerTracker({}, {"</think>", "Final answer:"}, {}, true)};
  CHECK_EQ(story.Feed("Fin"), Event::kNone);
  CHECK_EQ(story.Feed("e. Final ans"), Event::kNone);
  CHECK_EQ(story.Feed("wer: 4"), Event::kShut);
  story.CheckTexts(" 4", "Fine. ");
}

TEST(FlushShowsWhatLookedLikeAMark) {
  Story inside = Inside();
  inside.Feed("a</think");
  inside.Flush();
  inside.CheckTexts("", "a</think");
  Story outside = Outside();
  outside.Feed("a<th");
  outside.Flush();
  outside.CheckTexts("a<th", "");
}

TEST(WithoutMarksEverythingIsShownAtOnce) {
  Story story;
  CHECK_EQ(story.Feed("<think>a"), Event::kNone);
  story.CheckTexts("<think>a", "");
}

TEST(AMarkThatIsTalkedAboutIsText) {
  for (const std::string text : {
           "Qwen3 starts with <think> and then writes </think>.",
           "It ends with `</think>`.",
           "It writes \"</think>\" and \u201C<think>\u201D.",
           "So:\n```\n<think>\nhm\n</think>\n```\n`</think>` ends it.",
           "~~~\n```\n<think>\n",
       }) {
    Story story = Outside();
    CHECK_EQ(story.Feed(text), Event::kNone);
    story.CheckTexts(text, "");
  }
}

TEST(AMarkCountsBehindCode) {
  Story story = Outside();
  CHECK_EQ(story.Feed("```\nx\n```\n<think>a"), Event::kOpened);
  story.CheckTexts("```\nx\n```\n", "a");
}

TEST(AMarkSpelledInOrdinaryTokensIsTextWhereTheModelHasItsOwn) {
  Story story{.tracker = MarkerTracker({"<think>"}, {"</think>"}, {}, true, {7, 8})};
  CHECK_EQ(story.Feed("the text </"), Event::kNone);
  CHECK_EQ(story.Feed("think>"), Event::kNone);
  CHECK_EQ(story.Feed("</think>"), Event::kShut);
  CHECK_EQ(story.Feed("<think>\n"), Event::kNone);
  CHECK_EQ(story.Feed("<think>"), Event::kOpened);
  story.CheckTexts("<think>\n", "the text </think>");
}

TEST(AMarkOfSeveralTokensCountsWhereItEndsInOneOfTheModels) {
  Story story{.tracker = MarkerTracker({"<|channel|>analysis<|message|>"}, {"<|end|>"}, {}, false,
                                       {11, 7})};
  story.Feed("a <|channel|>analysis<|message");
  CHECK_EQ(story.Feed("|>"), Event::kNone);
  story.Feed("<|channel|>");
  story.Feed("analysis");
  CHECK_EQ(story.Feed("<|message|>"), Event::kOpened);
  story.CheckTexts("a <|channel|>analysis<|message|>", "");
}

TEST(AnEmptyMarkIsRefused) { CHECK_THROWS(MarkerTracker({}, {""}, {}, true), Error); }

}  // namespace

TEST(ACallEndsAThoughtAndIsTheBeginningOfTheAnswer) {
  Story story{.tracker = MarkerTracker({"<think>"}, {"</think>"}, {}, true, {}, {"<call>"})};
  CHECK_EQ(story.Feed("so <ca"), Event::kNone);
  CHECK_EQ(story.Feed("ll>{}"), Event::kShut);
  CHECK(story.tracker.called());
  CHECK_EQ(story.tracker.mark(), 1);
  CHECK(!story.tracker.inside());
  story.Flush();
  story.CheckTexts("<call>{}", "so ");
}

TEST(OutsideABlockACallIsTextLikeAnyOther) {
  Story story{.tracker = MarkerTracker({"<think>"}, {"</think>"}, {}, false, {}, {"<call>"})};
  CHECK_EQ(story.Feed("a<call>b\n<think>c<call>d"), Event::kShut);
  story.Flush();
  story.CheckTexts("a<call>b\n<call>d", "c");
}

}  // namespace edgereason
