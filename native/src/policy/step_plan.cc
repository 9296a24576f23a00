#include "policy/step_plan.h"

#include <algorithm>
#include <numeric>

namespace edgereason {
namespace {

constexpr double kExpireShare = 0.25;  // of its time a request is never given up for a slow step

// It takes one cell that nothing was claimed for.
bool ThinksOn(const PlanSeq& seq) noexcept { return seq.thinking && seq.pending == 1; }

PlanSeq& At(StepView* view, std::int32_t index) noexcept {
  return view->seqs[static_cast<std::size_t>(index)];
}

// True: there was a request that cannot wait for a step of `num_rows` rows.
bool Expire(StepView* view, std::int32_t num_rows, const CostModel& cost, const PlanLimits& limits,
            StepPlan* plan) {
  const auto num_before = plan->expire.size();
  std::erase_if(view->by_deadline, [&](std::int32_t index) {
    PlanSeq& seq = At(view, index);
    if (!IsTooLate(seq, num_rows, cost, limits)) return false;
    plan->expire.push_back(index);
    seq = {.priority = seq.priority, .blocked = true};  // nothing more is owed to it
    return true;
  });
  return plan->expire.size() > num_before;
}

void Close(StepView* view, const CostModel& cost, const PlanLimits& limits, StepPlan* plan) {
  const std::int32_t num_close = NumToClose(view->seqs, view->by_deadline, cost, limits);
  for (std::int32_t i = 0; i < num_close; ++i) {
    const std::int32_t index = view->by_deadline[static_cast<std::size_t>(i)];
    PlanSeq& seq = At(view, index);
    if (!seq.thinking) continue;
    plan->close.push_back(index);
    if (ThinksOn(seq) && !seq.blocked) ++seq.claimed;
    seq.thinking = false;
    seq.pending += seq.owed_rows;
    seq.owed_rows = 0;
  }
}

// Takes back rows for which no cell is left. Prompts and answers have their cells claimed; each
// further thought takes one of those that remain.
void FitCells(StepView* view, StepPlan* plan) noexcept {
  std::int32_t claimed = view->num_claimed_cells;
  std::int32_t wanted = 0;
  for (std::size_t i = 0; i < view->seqs.size(); ++i) {
    claimed += view->seqs[i].claimed;
    if (ThinksOn(view->seqs[i])) wanted += plan->grants[i];
  }
  const auto available = [&] {
    const Eviction given = plan->num_evict == 0
                               ? Eviction{}
                               : view->evictions[static_cast<std::size_t>(plan->num_evict) - 1];
    return view->num_free_cells + given.num_freed - (claimed - given.num_claimed);
  };
  while (available() < wanted && plan->num_evict < std::ssize(view->evictions)) ++plan->num_evict;
  std::int32_t left = std::max(available(), 0);
  for (std::size_t i = 0; i < view->seqs.size(); ++i) {
    if (!ThinksOn(view->seqs[i]) || plan->grants[i] == 0) continue;
    if (left > 0) {
      --left;
    } else {
      plan->grants[i] = 0;
      view->seqs[i].blocked = true;
    }
  }
}

// Where the more urgent lack cells, others go on in those that they have, and free them.
void Grant(StepView* view, const CostModel& cost, const PlanLimits& limits, StepPlan* plan) {
  plan->lacks_cells = false;
  while (GrantRows(view->seqs, view->by_deadline, cost, limits, plan->grants) > 0) {
    FitCells(view, plan);
    plan->num_rows = std::reduce(plan->grants.begin(), plan->grants.end());
    if (plan->num_rows > 0) {
      plan->lacks_cells = false;
      return;
    }
    plan->lacks_cells = true;
  }
  plan->num_rows = 0;
}

}  // namespace

void StepView::Clear() noexcept {
  seqs.clear();
  by_deadline.clear();
  evictions.clear();
  num_free_cells = num_claimed_cells = 0;
}

bool StepView::lacks_cells() const noexcept {
  std::int32_t needed = num_claimed_cells;
  for (const PlanSeq& seq : seqs) needed += seq.claimed + (ThinksOn(seq) && !seq.blocked ? 1 : 0);
  return needed > num_free_cells;
}

bool IsTooLate(const PlanSeq& seq, std::int32_t num_rows, const CostModel& cost,
               const PlanLimits& limits) noexcept {
  const double step_ms = cost.known() ? limits.margin * cost.StepMs(num_rows) : 0;
  // The prediction may be wrong: with time left a step is worth the try.
  return limits.now_ms + std::min(step_ms, kExpireShare * seq.given_ms) > seq.deadline_ms;
}

void PlanStep(StepView* view, const CostModel& cost, const PlanLimits& limits, StepPlan* plan) {
  plan->expire.clear();
  plan->close.clear();
  plan->num_evict = 0;
  plan->grants.resize(view->seqs.size());
  const bool any_due = !view->by_deadline.empty();
  if (any_due) Expire(view, 1, cost, limits, plan);
  if (any_due) Close(view, cost, limits, plan);
  Grant(view, cost, limits, plan);
  // Who cannot wait for the end of this step is answered before it.
  if (any_due && plan->num_rows > 0 && Expire(view, plan->num_rows, cost, limits, plan)) {
    Grant(view, cost, limits, plan);
  }
}

}  // namespace edgereason
