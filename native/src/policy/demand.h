// Owed work of several sequences that is done together, and how long it takes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "policy/cost.h"
#include "policy/plan.h"

namespace edgereason {

// Rows of a prompt that are read in one step, where it is estimated.
inline constexpr std::int32_t kPrefillRows = 64;

inline double PrefillMs(std::int64_t rows, const CostModel& cost) noexcept {
  if (rows <= 0) return 0;
  if (rows <= kPrefillRows) return cost.StepMs(static_cast<std::int32_t>(rows));
  return cost.StepMs(kPrefillRows) * static_cast<double>(rows) / kPrefillRows;
}

struct Demand {
  std::int64_t prefill_rows = 0;
  std::int64_t steps = 0;
  std::int32_t longest = 0;
  std::int32_t num = 0;

  void Add(const PlanSeq& seq) noexcept {
    prefill_rows += std::int64_t{seq.pending} + seq.owed_rows;
    steps += seq.owed_steps;
    longest = std::max(longest, seq.owed_steps);
    ++num;
  }

  // `row_ms`: what a row of a step costs where they are decoded side by side. No answer is faster
  // than alone.
  double Ms(const CostModel& cost, double row_ms) const noexcept {
    return PrefillMs(prefill_rows, cost) +
           std::max(row_ms * static_cast<double>(steps), longest * cost.StepMs(1));
  }
};

}  // namespace edgereason
