#include "policy/budget.h"

#include <limits>

#include "check.h"

namespace edgereason {
namespace {

TEST(ABudgetIsSpentOneByOne) {
  TokenBudget budget(2);
  CHECK(budget.can_spend());
  budget.Spend();
  CHECK_EQ(budget.remaining(), 1);
  budget.Spend();
  CHECK(!budget.can_spend());
  CHECK_EQ(budget.used(), 2);
  budget.Refund(1);
  CHECK(budget.can_spend());
  CHECK_EQ(budget.used(), 1);
}

TEST(ABudgetOfNothingCannotBeSpent) { CHECK(!TokenBudget(0).can_spend()); }

TEST(WithoutALimitEverythingCanBeSpent) {
  TokenBudget budget;
  for (int i = 0; i < 1000; ++i) budget.Spend();
  CHECK(budget.can_spend());
  CHECK_EQ(budget.limit(), kUnlimited);
  CHECK_EQ(budget.remaining(), std::numeric_limits<std::int32_t>::max());
}

TEST(TheSoftShareRisesToTheLimit) {
  CHECK_NEAR(SoftShare(0.5F, 49, 100, true), 0.0, 0);
  CHECK_NEAR(SoftShare(0.5F, 50, 100, true), 0.0, 0);
  CHECK_NEAR(SoftShare(0.5F, 75, 100, true), 0.5, 1e-6);
  CHECK_NEAR(SoftShare(0.5F, 75, 100, false), 0.25, 1e-6);
  CHECK_NEAR(SoftShare(0.5F, 100, 100, false), 1.0, 0);
  CHECK_NEAR(SoftShare(0.5F, 120, 100, false), 1.0, 0);
  CHECK_NEAR(SoftShare(0.0F, 25, 100, true), 0.25, 1e-6);
  CHECK_NEAR(SoftShare(0.5F, 0, 0, false), 1.0, 0);
}

TEST(WithoutALimitOrWithSoftOffNothingRises) {
  CHECK_NEAR(SoftShare(0.5F, 1000, kUnlimited, true), 0.0, 0);
  CHECK_NEAR(SoftShare(1.0F, 100, 100, true), 0.0, 0);
}

TEST(SentencesEnd) {
  for (const char* text : {"So 4.", "Really?", "Yes! ", "line\n", "(it is.)", "\"No.\" ",
                           "**Done.** ", "所以是四。", "真的？」", "He said “no.”"}) {
    if (!EndsSentence(text)) test::Fail(__FILE__, __LINE__, text);
  }
}

TEST(OtherTextsDoNot) {
  for (const char* text : {"", "   ", "So 4", "a, ", "3.1", "x =", "(and)", "。所", "\"\""}) {
    if (EndsSentence(text)) test::Fail(__FILE__, __LINE__, text);
  }
}

}  // namespace
}  // namespace edgereason
