#include "request.h"

#include <thread>

#include "check.h"
#include "plan.h"

namespace edgereason {
namespace {

Plan ThinkAndAnswer() {
  Plan plan;
  plan.phases.resize(2);
  plan.phases[0].phase.role = Role::kThink;
  return plan;
}

PhaseResult* Ended(StopReason reason, const std::string& text) {
  auto* const result = new PhaseResult;
  result->reason = reason;
  result->text = text;
  return result;
}

std::string Best(const er_request& request, er_best expected) {
  char text[64];
  er_best from = ER_BEST_NONE;
  request.Best(text, sizeof(text), &from);
  CHECK_EQ(from, expected);
  return text;
}

TEST(TheBestAnswerGrowsFromNothingToTheLast) {
  const Plan plan = ThinkAndAnswer();
  er_request request;
  request.Prepare(&plan, 100);
  CHECK_EQ(Best(request, ER_BEST_NONE), "");
  request.probe.Set("41");
  CHECK_EQ(Best(request, ER_BEST_PROBE), "41");
  request.answer.Add(" \n");
  CHECK_EQ(Best(request, ER_BEST_PROBE), "41");  // blanks are no answer
  request.answer.Add("it is");
  CHECK_EQ(Best(request, ER_BEST_PARTIAL), "it is");
  request.Add(Ended(StopReason::kStop, "hm"));
  request.Add(Ended(StopReason::kStop, " \nit is 42\n"));
  request.Finish();
  CHECK_EQ(Best(request, ER_BEST_FINAL), "it is 42");
  CHECK_EQ(request.Report().finish, ER_STOP);
}

TEST(TheAnswerIsWhatFollowsTheMark) {
  Plan plan = ThinkAndAnswer();
  plan.mark = "#";
  er_request request;
  request.Prepare(&plan, 100);
  request.answer.Add("a # b # c");
  CHECK_EQ(Best(request, ER_BEST_PARTIAL), "c");
}

TEST(WithoutAnAnswerTheLastProbeIsIt) {
  const Plan plan = ThinkAndAnswer();
  er_request request;
  request.Prepare(&plan, 100);
  PhaseResult* const thought = Ended(StopReason::kDeadline, "hm");
  thought->probe = "41";
  request.Add(thought);
  request.Finish();
  CHECK_EQ(Best(request, ER_BEST_FINAL), "41");
  CHECK_EQ(request.Report().finish, ER_DEADLINE);
}

TEST(TheFirstReasonCountsButCancelledBeforeAll) {
  const Plan plan = ThinkAndAnswer();
  er_request request;
  request.Prepare(&plan, 100);
  request.Add(Ended(StopReason::kBudget, "hm"));
  request.Add(Ended(StopReason::kDeadline, "4"));
  request.Finish();
  CHECK_EQ(request.Report().finish, ER_BUDGET);
  request.Prepare(&plan, 100);
  request.Add(Ended(StopReason::kBudget, "hm"));
  request.Add(Ended(StopReason::kCancelled, "4"));
  request.Finish();
  CHECK_EQ(request.Report().finish, ER_CANCELLED);
  CHECK_EQ(Best(request, ER_BEST_FINAL), "4");
}

TEST(TextIsCutToWholeCharacters) {
  const Plan plan = ThinkAndAnswer();
  er_request request;
  request.Prepare(&plan, 5);
  request.answer.Add("ab\u00fc\u00fc");  // of six bytes five fit, of the last character one
  CHECK_EQ(Best(request, ER_BEST_PARTIAL), "ab\u00fc");
  char text[4];
  er_best from;
  request.Best(text, sizeof(text), &from);
  CHECK_EQ(std::string(text), "ab");
}

TEST(ReadersNeverSeeHalfOfAProbe) {
  ChangingText text;
  text.Set("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < 20000; ++i)
      text.Set(std::string(1 + i % 48, static_cast<char>('a' + i % 26)));
    done = true;
  });
  bool whole = true;
  while (!done) {
    char read[Event::kTextBytes];
    const std::size_t size = text.Read(read);
    whole = whole && size >= 1 && std::string(read, size) == std::string(size, read[0]);
  }
  writer.join();
  CHECK(whole);
}

}  // namespace
}  // namespace edgereason
