// Thinking that ends where the model is nearly done with it.
#include "check.h"
#include "harness.h"

namespace edgereason {
namespace {

using test::Answer;
using test::Harness;
using test::Outcome;
using test::Think;

ScriptedOptions Sentences() {
  return {.rules = {{.after = "Q?", .reply = "One two. Three four. Five.</think>"},
                    {.after = "</think>", .reply = "\n\n42"}}};
}

Outcome Asked(float brake, std::int32_t budget = kUnlimited) {
  Harness harness(Sentences());
  Phase think = Think(harness, budget);
  think.brake = brake;
  return harness.Finish(harness.Ask({think, Answer(harness)}));
}

}  // namespace

TEST(ABrakeEndsThinkingAtTheEndOfASentence) {
  // The scripted model puts all its weight on the next token: any other is far below it.
  const Outcome outcome = Asked(1e6F);
  CHECK_EQ(outcome.phases[0].text, "One two.");
  CHECK_EQ(outcome.phases[0].reason, StopReason::kStable);
  CHECK_EQ(outcome.last().text, "\n\n42");
}

TEST(WithoutABrakeOrFarFromTheEndItGoesOn) {
  for (const float brake : {0.0F, 1e-3F}) {
    const Outcome outcome = Asked(brake);
    CHECK_EQ(outcome.phases[0].text, "One two. Three four. Five.");
    CHECK_EQ(outcome.phases[0].reason, StopReason::kStop);
  }
}

TEST(ABudgetThatIsSpentBeforeIsTold) {
  const Outcome outcome = Asked(1e6F, 3);
  CHECK_EQ(outcome.phases[0].reason, StopReason::kBudget);
}

TEST(ABrakeNeedsSomethingToEnd) {
  Harness harness(Sentences());
  Phase answer = Answer(harness);
  answer.fresh = harness.Ids("Q?");
  answer.brake = 1;
  CHECK_THROWS(harness.Ask({answer}), Error);
  Phase think = Think(harness);
  think.brake = -1;
  CHECK_THROWS(harness.Ask({think}), Error);
  think.brake = 1;
  think.close.clear();
  CHECK_THROWS(harness.Ask({think}), Error);
}

}  // namespace edgereason
