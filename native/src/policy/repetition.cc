#include "policy/repetition.h"

#include <algorithm>
#include <cstddef>

namespace edgereason {

RepetitionDetector::RepetitionDetector(const Loop& rule)
    : rule_(rule), run_(static_cast<std::size_t>(std::max(rule.max_period, 0)), 0) {}

bool RepetitionDetector::Push(std::span<const Token> tokens) noexcept {
  if (tokens.empty()) return false;
  const std::size_t newest = tokens.size() - 1;
  const std::size_t num_periods = std::min(run_.size(), newest);
  bool found = false;
  for (std::size_t period = 1; period <= num_periods; ++period) {
    std::int32_t& run = run_[period - 1];
    run = tokens[newest] == tokens[newest - period] ? run + 1 : 0;
    // The stretch is the run and the period it repeats.
    const auto length = run + static_cast<std::int32_t>(period);
    const auto needed = rule_.repeats * static_cast<std::int32_t>(period);
    found |= run > 0 && length >= needed && length >= rule_.min_tokens;
  }
  return found;
}

}  // namespace edgereason
