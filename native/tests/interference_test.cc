#include "policy/interference.h"

#include "check.h"

namespace edgereason {

TEST(NothingTakenNothingKept) {
  Interference interference;
  CHECK_EQ(interference.Slack(0, 3), 1);
  for (int i = 0; i < 100; ++i) interference.Count(i * 10, 10, 0);
  CHECK_EQ(interference.Slack(1000, 3), 1);
}

TEST(WhatIsTakenIsKept) {
  Interference interference;
  for (int i = 0; i < 3000; ++i) interference.Count(i * 10, 10, 5);
  CHECK_NEAR(interference.Slack(30000, 3), 2, 0.2);
  // Until it is long ago.
  CHECK_NEAR(interference.Slack(130000, 3), 1, 0.01);
}

TEST(ThereIsAMost) {
  Interference interference;
  for (int i = 0; i < 3000; ++i) interference.Count(i * 10, 10, 20);
  CHECK_EQ(interference.Slack(30000, 3), 3);
}

}  // namespace edgereason
