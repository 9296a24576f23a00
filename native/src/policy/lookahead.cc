#include "policy/lookahead.h"

#include <algorithm>
#include <cstddef>

namespace edgereason {
namespace {

constexpr std::size_t kLeastMatch = 3;  // tokens: fewer are found everywhere
constexpr std::size_t kMostMatch = 24;  // more tell nothing
constexpr double kLeastGain = 1.05;     // of tokens a millisecond
constexpr double kLearningRate = 0.1;   // of one guess
constexpr std::int32_t kMostRest = 4096;

// How many items before `end` equal those at the end of the text.
std::size_t MatchLength(std::span<const ContextItem> items, std::size_t end) noexcept {
  const std::size_t most = std::min(end, kMostMatch);
  std::size_t num = 0;
  while (num < most && items[end - 1 - num] == items[items.size() - 1 - num] &&
         items[end - 1 - num].token() != kNoToken) {
    ++num;
  }
  return num;
}

}  // namespace

std::int32_t GuessNext(std::span<const ContextItem> items, std::span<Token> guesses) noexcept {
  if (items.size() <= kLeastMatch) return 0;
  std::size_t best = kLeastMatch - 1, from = 0;
  for (std::size_t end = items.size() - 1; end > best && best < kMostMatch; --end) {
    const std::size_t num = MatchLength(items, end);
    if (num > best) best = num, from = end;
  }
  if (from == 0) return 0;
  for (std::size_t i = 0; i < guesses.size(); ++i) {
    const bool in_text = from + i < items.size();
    guesses[i] = in_text ? items[from + i].token() : guesses[from + i - items.size()];
    if (guesses[i] == kNoToken) return static_cast<std::int32_t>(i);
  }
  return static_cast<std::int32_t>(guesses.size());
}

std::int32_t Lookahead::NumWorth(const CostModel& cost, std::int32_t num_rows,
                                 std::int32_t most) noexcept {
  if (rest_ > 0) {
    --rest_;
    return 0;
  }
  if (most <= 0) return 0;
  double best = kLeastGain * num_rows / cost.StepMs(num_rows);
  double tokens = num_rows, all_right = 1;
  std::int32_t num = 0;
  for (std::int32_t i = 1; i <= most; ++i) {
    all_right *= share_right_;
    tokens += all_right;
    const double rate = tokens / cost.StepMs(num_rows + i);
    if (rate > best) best = rate, num = i;
  }
  if (num == 0) {
    rest_ = next_rest_;
    next_rest_ = std::min(2 * next_rest_, kMostRest);
    share_right_ = kPrior;  // when it is over, what was learned is long ago
  }
  return num;
}

void Lookahead::Learn(std::int32_t num, std::int32_t num_right) noexcept {
  for (std::int32_t i = 0; i < num_right; ++i) share_right_ += kLearningRate * (1 - share_right_);
  if (num_right < num) {
    share_right_ -= kLearningRate * share_right_;
  } else {
    next_rest_ = kFirstRest;
  }
}

}  // namespace edgereason
