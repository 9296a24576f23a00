#include "edgereason/plan.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace edgereason {
namespace {

// Answers are decoded together; more rows than this in one step bring little on the devices we know.
constexpr std::int32_t kBatchWidth = 8;
constexpr std::int32_t kPrefillRows = 64;

bool IsOwed(const PlanSeq& seq) noexcept {
  return !seq.thinking && std::isfinite(seq.deadline_ms);
}

double PrefillMs(std::int64_t rows, const CostModel& cost) noexcept {
  if (rows <= 0) return 0;
  if (rows <= kPrefillRows) return cost.StepMs(static_cast<std::int32_t>(rows));
  return cost.StepMs(kPrefillRows) * static_cast<double>(rows) / kPrefillRows;
}

// The longest this step may take for `seq` to be in time, if every later step took as long.
double AllowedStepMs(const PlanSeq& seq, const CostModel& cost, const PlanLimits& limits) noexcept {
  if (!std::isfinite(seq.deadline_ms)) return std::numeric_limits<double>::infinity();
  const double left = (seq.deadline_ms - limits.now_ms) / limits.margin;
  if (seq.thinking) return left - OwedMs(seq, cost);
  return left / std::max(seq.owed_steps, 1);
}

struct StepBuilder {
  std::span<const PlanSeq> seqs;
  const CostModel& cost;
  const PlanLimits& limits;
  std::span<std::int32_t> rows;
  std::int32_t total = 0;
  double allowed_ms = std::numeric_limits<double>::infinity();
  bool alone = true;  // nobody else waits, so a prompt need not be cut

  void Add(std::size_t i) noexcept {
    const PlanSeq& seq = seqs[i];
    const double allowed = std::min(allowed_ms, AllowedStepMs(seq, cost, limits));
    std::int32_t room = limits.max_rows - total;
    if (total > 0) {
      if (cost.StepMs(total + 1) > allowed) return;
      if (seq.pending > 1) {
        const double target = std::min(allowed, limits.chunk_ms);
        room = std::min(room, cost.RowsWithin(target, limits.max_rows) - total);
      }
    } else if (!alone) {
      room = std::min(room, cost.RowsWithin(limits.chunk_ms, limits.max_rows));
    }
    const std::int32_t granted = std::min(seq.pending, room);
    if (granted <= 0) return;
    rows[i] = granted;
    total += granted;
    allowed_ms = allowed;
  }
};

}  // namespace

double OwedMs(const PlanSeq& seq, const CostModel& cost) noexcept {
  return PrefillMs(std::int64_t{seq.pending} + seq.owed_rows, cost) + seq.owed_steps * cost.StepMs(1);
}

std::int32_t NumToClose(std::span<const PlanSeq> seqs, const CostModel& cost,
                        const PlanLimits& limits) noexcept {
  std::int32_t num_close = 0;
  std::int64_t prefill = 0;
  std::int64_t steps = 0;
  std::int32_t longest = 0;
  for (std::size_t i = 0; i < seqs.size() && std::isfinite(seqs[i].deadline_ms); ++i) {
    const PlanSeq& seq = seqs[i];
    prefill += std::int64_t{seq.pending} + seq.owed_rows;
    steps += seq.owed_steps;
    longest = std::max(longest, seq.owed_steps);
    const std::int32_t width = std::min(static_cast<std::int32_t>(i) + 1, kBatchWidth);
    const double batched = cost.StepMs(width);
    const double decode_ms =
        std::max(static_cast<double>(steps) / width * batched, longest * cost.StepMs(1));
    // One more step: the one that is about to run.
    const double need_ms = limits.margin * (PrefillMs(prefill, cost) + decode_ms) + batched;
    if (limits.now_ms + need_ms > seq.deadline_ms) num_close = static_cast<std::int32_t>(i) + 1;
  }
  return num_close;
}

std::int32_t PlanStep(std::span<const PlanSeq> seqs, const CostModel& cost, const PlanLimits& limits,
                      std::span<std::int32_t> rows) noexcept {
  std::fill(rows.begin(), rows.end(), 0);
  StepBuilder step{seqs, cost, limits, rows};
  std::int32_t num_ready = 0;
  std::int32_t top = std::numeric_limits<std::int32_t>::min();
  for (const PlanSeq& seq : seqs) {
    if (seq.blocked) continue;
    ++num_ready;
    top = std::max(top, seq.priority);
  }
  step.alone = num_ready <= 1;
  for (std::size_t i = 0; i < seqs.size(); ++i) {
    if (!seqs[i].blocked && IsOwed(seqs[i])) step.Add(i);
  }
  for (std::size_t i = 0; i < seqs.size(); ++i) {
    if (!seqs[i].blocked && !IsOwed(seqs[i]) && seqs[i].priority == top) step.Add(i);
  }
  return step.total;
}

}  // namespace edgereason
