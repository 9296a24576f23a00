#include "policy/repetition.h"

#include <cstddef>
#include <span>
#include <vector>

#include "check.h"

namespace edgereason {
namespace {

// How many tokens it took to notice, fed one by one; 0: never.
std::size_t Noticed(const Loop& rule, const std::vector<Token>& tokens) {
  RepetitionDetector detector(rule);
  for (std::size_t num = 1; num <= tokens.size(); ++num) {
    if (detector.Push(std::span(tokens).first(num))) return num;
  }
  return 0;
}

std::vector<Token> Repeated(const std::vector<Token>& pattern, int times) {
  std::vector<Token> tokens;
  for (int i = 0; i < times; ++i) tokens.insert(tokens.end(), pattern.begin(), pattern.end());
  return tokens;
}

TEST(APatternIsNoticedAtItsLastRepeat) {
  const Loop rule{.max_period = 8, .repeats = 4, .min_tokens = 1};
  CHECK_EQ(Noticed(rule, Repeated({7}, 9)), 4U);
  CHECK_EQ(Noticed(rule, Repeated({1, 2, 3}, 9)), 12U);
  CHECK_EQ(Noticed(rule, Repeated({1, 2, 1, 3}, 9)), 16U);
}

TEST(ShortStretchesRepeatByRight) {
  const Loop rule{.max_period = 8, .repeats = 4, .min_tokens = 10};
  CHECK_EQ(Noticed(rule, Repeated({7}, 9)), 0U);
  CHECK_EQ(Noticed(rule, Repeated({7}, 10)), 10U);
}

TEST(LongerPeriodsAreNotLookedAt) {
  CHECK_EQ(Noticed({.max_period = 2, .repeats = 2, .min_tokens = 1}, Repeated({1, 2, 3}, 9)), 0U);
  CHECK_EQ(Noticed({.max_period = 3, .repeats = 2, .min_tokens = 1}, Repeated({1, 2, 3}, 9)), 6U);
}

TEST(AnInterruptedPatternStartsAnew) {
  const Loop rule{.max_period = 4, .repeats = 3, .min_tokens = 1};
  CHECK_EQ(Noticed(rule, {1, 2, 1, 2, 9, 1, 2, 1, 2, 9}), 0U);
  CHECK_EQ(Noticed(rule, {1, 2, 1, 2, 9, 1, 2, 1, 2, 1, 2}), 11U);
}

TEST(APatternMayBeginAnywhere) {
  CHECK_EQ(Noticed({.max_period = 4, .repeats = 3, .min_tokens = 1}, {5, 6, 1, 2, 1, 2, 1, 2}), 8U);
}

TEST(OffNoticesNothing) { CHECK_EQ(Noticed({.max_period = 0}, Repeated({1}, 100)), 0U); }

}  // namespace
}  // namespace edgereason
