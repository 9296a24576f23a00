#include "policy/step_plan.h"

#include <limits>
#include <vector>

#include "check.h"

namespace edgereason {
namespace {

constexpr double kNoDeadline = std::numeric_limits<double>::infinity();
using Ints = std::vector<std::int32_t>;

CostModel Cost() {  // 10 ms a row, in proportion
  CostModel cost;
  for (int i = 0; i < 20; ++i) {
    for (const std::int32_t rows : {1, 2, 4, 8, 16, 32, 64}) cost.Observe(rows, 0, 10.0 * rows);
  }
  return cost;
}

PlanSeq Thinking(double deadline_ms = kNoDeadline) {
  return {.deadline_ms = deadline_ms,
          .given_ms = deadline_ms,
          .pending = 1,
          .owed_rows = 2,
          .owed_steps = 5,
          .claimed = 7,
          .thinking = true};
}

StepPlan Plan(StepView view, double now_ms = 0) {
  for (std::size_t i = 0; i < view.seqs.size(); ++i) {
    if (view.seqs[i].deadline_ms < kNoDeadline) {
      view.by_deadline.push_back(static_cast<std::int32_t>(i));
    }
  }
  StepPlan plan;
  PlanStep(&view, Cost(), {.now_ms = now_ms}, &plan);
  return plan;
}

}  // namespace

TEST(WhoThinksGetsARow) {
  const StepPlan plan = Plan({.seqs = {Thinking(), Thinking()}, .num_free_cells = 100});
  CHECK_EQ(plan.grants, (Ints{1, 1}));
  CHECK_EQ(plan.num_rows, 2);
  CHECK(plan.expire.empty() && plan.close.empty());
}

TEST(ThinkingIsClosedWhenTheAnswerIsDue) {
  const StepPlan plan = Plan({.seqs = {Thinking(), Thinking(100)}, .num_free_cells = 100}, 20);
  CHECK_EQ(plan.close, (Ints{1}));
  // What will be forced is in the same step: two rows more.
  CHECK_EQ(plan.grants[1], 3);
}

TEST(WhoCannotWaitForAStepIsAnsweredNow) {
  const StepPlan plan = Plan({.seqs = {Thinking(), Thinking(100)}, .num_free_cells = 100}, 99);
  CHECK_EQ(plan.expire, (Ints{1}));
  CHECK(plan.close.empty());
  CHECK_EQ(plan.grants, (Ints{1, 0}));
}

TEST(ALongStepIsTooLongForWhoeverIsDueInTheMiddle) {
  const CostModel cost = Cost();
  CHECK(!IsTooLate(Thinking(100), 1, cost, {.now_ms = 80}));
  CHECK(IsTooLate(Thinking(100), 4, cost, {.now_ms = 80}));
  // With a quarter of its time left a step is worth the try, however long it is said to be.
  CHECK(!IsTooLate(Thinking(100), 64, cost, {.now_ms = 70}));
  CHECK(!IsTooLate(Thinking(), 64, cost, {.now_ms = 70}));
}

TEST(CellsThatNobodyUsesGiveWay) {
  // 14 are claimed for answers, so one is left for two thoughts.
  StepView view{.seqs = {Thinking(), Thinking()}, .num_free_cells = 15};
  CHECK(view.lacks_cells());
  view.evictions = {{.num_freed = 1}, {.num_freed = 4}};
  const StepPlan plan = Plan(view);
  CHECK_EQ(plan.num_evict, 1);
  CHECK_EQ(plan.grants, (Ints{1, 1}));
}

TEST(EvictingAnIdleSequenceFreesItsClaimsToo) {
  StepView view{.seqs = {Thinking()}, .num_free_cells = 10, .num_claimed_cells = 6};
  view.evictions = {{.num_freed = 0, .num_claimed = 6}};
  const StepPlan plan = Plan(view);
  CHECK_EQ(plan.num_evict, 1);
  CHECK_EQ(plan.grants, (Ints{1}));
}

TEST(WithoutCellsTheLessUrgentPauses) {
  const StepPlan plan = Plan({.seqs = {Thinking(), Thinking()}, .num_free_cells = 15});
  CHECK_EQ(plan.grants, (Ints{1, 0}));
  CHECK(!plan.lacks_cells);
}

TEST(NobodyRunsForWantOfCells) {
  const StepPlan plan = Plan({.seqs = {Thinking()}, .num_free_cells = 7});
  CHECK_EQ(plan.num_rows, 0);
  CHECK(plan.lacks_cells);
}

TEST(AnAnswerHasItsCells) {
  PlanSeq answer{.deadline_ms = kNoDeadline, .pending = 1, .owed_steps = 4, .claimed = 5};
  const StepPlan plan = Plan({.seqs = {Thinking(), answer}, .num_free_cells = 5});
  CHECK_EQ(plan.grants, (Ints{0, 1}));
}

}  // namespace edgereason
