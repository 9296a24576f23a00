// All that one step decides, as one value, made by a pure function and applied once.
//
//   PlanStep(&view, cost, limits, &plan);
//   for (index : plan.expire) ...   // answered now: no step can be in time for it
//   for (index : plan.close) ...    // its thinking ends, so that its answer is in time
//   evict plan.num_evict            // KV that nobody uses gives way
//   plan.grants[i]                  // rows of sequence i in this step
#pragma once

#include <cstdint>
#include <vector>

#include "policy/plan.h"

namespace edgereason {

// What giving up the KV of the first so many would bring that nobody uses at present.
struct Eviction {
  std::int32_t num_freed = 0;    // cells
  std::int32_t num_claimed = 0;  // cells that need not be kept free any more
};

// What the planner sees. It works on this copy: nothing else is changed.
struct StepView {
  std::vector<PlanSeq> seqs{};              // by urgency: priority, deadline, arrival
  std::vector<std::int32_t> by_deadline{};  // indices of those with a deadline, the earliest first
  std::int32_t num_free_cells = 0;
  std::int32_t num_claimed_cells = 0;  // by sequences that do not run now
  std::vector<Eviction> evictions{};   // sums; filled only where cells are short

  void Clear() noexcept;
  // Cells are short: not each of them that thinks can have one more.
  bool lacks_cells() const noexcept;
};

struct StepPlan {
  std::vector<std::int32_t> expire;  // indices into StepView::seqs, by deadline
  std::vector<std::int32_t> close;   // the same
  std::int32_t num_evict = 0;
  std::vector<std::int32_t> grants;  // rows of each; 0: paused
  std::int32_t num_rows = 0;         // their sum
  bool lacks_cells = false;          // nobody gets a row, for want of cells
};

// True where a request would be late if it waited for a step of `num_rows` rows.
bool IsTooLate(const PlanSeq& seq, std::int32_t num_rows, const CostModel& cost,
               const PlanLimits& limits) noexcept;

void PlanStep(StepView* view, const CostModel& cost, const PlanLimits& limits, StepPlan* plan);

}  // namespace edgereason
