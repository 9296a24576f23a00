#include "policy/lookahead.h"

#include <algorithm>
#include <cstddef>

namespace edgereason {
namespace {

constexpr std::size_t kLeastMatch = 3;  // tokens: fewer are found everywhere
constexpr std::size_t kMostMatch = 24;  // more tell nothing
// Of tokens a millisecond. Steps were learned with fewer rows that give logits, which are dear in
// small models: what seems to gain a tenth loses one.
constexpr double kLeastGain = 1.3;
constexpr double kLearningRate = 0.1;  // of one guess
constexpr std::int32_t kMostRest = 4096;
constexpr std::int32_t kLonger = 6, kLong = 12;  // matches of so many tokens

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

Guessed GuessNext(std::span<const ContextItem> items, std::span<Token> guesses) noexcept {
  if (items.size() <= kLeastMatch) return {};
  std::size_t best = kLeastMatch - 1, from = 0;
  for (std::size_t end = items.size() - 1; end > best && best < kMostMatch; --end) {
    const std::size_t num = MatchLength(items, end);
    if (num > best) best = num, from = end;
  }
  if (from == 0) return {};
  Guessed found{.match = static_cast<std::int32_t>(best)};
  for (std::size_t i = 0; i < guesses.size(); ++i) {
    const bool in_text = from + i < items.size();
    guesses[i] = in_text ? items[from + i].token() : guesses[from + i - items.size()];
    if (guesses[i] == kNoToken) break;
    ++found.num;
  }
  return found;
}

std::int32_t Lookahead::NumWorth(const CostModel& cost, std::int32_t num_rows,
                                 const Guessed& found) noexcept {
  if (found.num <= 0) return 0;
  kind_ = found.match == kDrafted ? 3 : found.match >= kLong ? 2 : found.match >= kLonger ? 1 : 0;
  Kind& kind = kinds_[kind_];
  if (kind.rest > 0) {
    --kind.rest;
    return 0;
  }
  double best = kLeastGain * num_rows / cost.StepMs(num_rows);
  double tokens = num_rows, all_right = 1;
  std::int32_t num = 0;
  for (std::int32_t i = 1; i <= found.num; ++i) {
    all_right *= kind.share_right;
    tokens += all_right;
    const double rate = tokens / (cost.StepMs(num_rows + i) + i * found.guess_ms);
    if (rate > best) best = rate, num = i;
  }
  if (num == 0) {  // when the rest is over, what was learned is long ago
    const std::int32_t next = std::min(2 * kind.next_rest, kMostRest);
    kind = {.share_right = kPriors[kind_], .rest = kind.next_rest, .next_rest = next};
  }
  return num;
}

void Lookahead::Learn(std::int32_t num, std::int32_t num_right) noexcept {
  Kind& kind = kinds_[kind_];
  for (std::int32_t i = 0; i < num_right; ++i) {
    kind.share_right += kLearningRate * (1 - kind.share_right);
  }
  if (num_right < num) {
    kind.share_right -= kLearningRate * kind.share_right;
  } else {
    kind.next_rest = kFirstRest;
  }
}

}  // namespace edgereason
