#include "policy/plan.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "policy/demand.h"

namespace edgereason {
namespace {

// Answers are decoded together; more rows than this in one step bring little on the devices we
// know.
constexpr std::int32_t kBatchWidth = 8;
// A prompt this short, such as an answer cue, is not cut for others' sake in a step of at most
// kPrefillRows: it saves them little, and batches would depend on how long steps happen to take.
// Nor is a longer one cut into less: two rows may take longer than two steps of one.
constexpr std::int32_t kShortRows = 16;
constexpr double kAloneChunks = 2;  // times a chunk: a step for a prompt that nobody waits behind
// Where a step takes longer than a chunk if each has one row, prompts may double it: they would
// never be read, or row by row.
constexpr double kSlowSteps = 2;

double Ms(const Demand& demand, const CostModel& cost) noexcept {
  const std::int32_t width = std::clamp(demand.num, 1, kBatchWidth);
  return demand.Ms(cost, cost.StepMs(width) / width);
}

// True when a request of higher priority would be late if `seq` were served as well, and would not
// be otherwise.
bool YieldsToMoreUrgent(const PlanSeq& seq, std::span<const PlanSeq> seqs,
                        std::span<const std::int32_t> by_deadline, const CostModel& cost,
                        const PlanLimits& limits) noexcept {
  Demand without;
  Demand with;
  with.Add(seq);
  for (const std::int32_t at : by_deadline) {
    const PlanSeq& other = seqs[static_cast<std::size_t>(at)];
    if (other.priority <= seq.priority) continue;
    without.Add(other);
    with.Add(other);
    const double left_ms = other.deadline_ms - limits.now_ms;
    if (Ms(without, cost) <= left_ms && Ms(with, cost) > left_ms) return true;
  }
  return false;
}

// Puts one step together, never at the cost of those that are in it already. It takes at most half
// of the time until the earliest deadline, where there is a choice: a step twice as slow as
// expected makes nobody late.
struct StepBuilder {
  std::span<const PlanSeq> seqs;
  const CostModel& cost;
  const PlanLimits& limits;
  std::span<std::int32_t> rows;
  std::int32_t num_seqs = 0;
  std::int32_t total = 0;
  double due_ms = std::numeric_limits<double>::infinity();  // until the earliest deadline
  bool alone = true;     // nobody else waits, so a prompt need not be cut
  bool watched = false;  // somebody feels how long a step takes

  // The longest this step may take for `seq` to be in time, if later steps take `later_ms`.
  double AllowedMs(const PlanSeq& seq, double later_ms) const noexcept {
    if (!std::isfinite(seq.deadline_ms)) return std::numeric_limits<double>::infinity();
    const double left_ms = (seq.deadline_ms - limits.now_ms) / limits.margin;
    return left_ms - (seq.thinking ? OwedMs(seq, cost) : (seq.owed_steps - 1) * later_ms);
  }

  // How long a prompt may make a step that others wait for. Where only the whole answers are waited
  // for, as many rows as are cheap.
  double ChunkMs() const noexcept {
    const double slow_ms = kSlowSteps * cost.StepMs(std::max(num_seqs, 1));
    const double least_ms = cost.StepMs(watched ? kShortRows : kPrefillRows);
    return std::max({limits.chunk_ms, slow_ms, least_ms});
  }

  // How long the prompt of the first in a step may make it. Alone it is not cut for others, but
  // under a deadline the clock must be looked at in between: the load may change, and where one
  // request has a deadline, the next may arrive with an earlier one. What is left of a prompt may
  // take all the time that is left: read in halves it would come to nothing.
  double FirstChunkMs(const PlanSeq& seq) const noexcept {
    const double chunk_ms = ChunkMs();
    const bool is_rest = cost.StepMs(seq.pending) <= std::min(due_ms, chunk_ms);
    const double most_ms = is_rest ? due_ms : due_ms / 2;
    if (seq.pending <= kShortRows || (alone && !std::isfinite(seq.deadline_ms))) return most_ms;
    return std::min(most_ms, (alone ? kAloneChunks : 1.0) * chunk_ms);
  }

  double AllowedWith(const PlanSeq& added) const noexcept {
    const double later_ms = cost.StepMs(num_seqs + 1);
    double allowed_ms = std::min(due_ms / 2, AllowedMs(added, later_ms));
    for (std::size_t i = 0; i < seqs.size(); ++i) {
      if (rows[i] > 0) allowed_ms = std::min(allowed_ms, AllowedMs(seqs[i], later_ms));
    }
    return allowed_ms;
  }

  void Add(std::size_t i) noexcept {
    const PlanSeq& seq = seqs[i];
    std::int32_t room = limits.max_rows - total;
    if (total > 0) {
      const double allowed_ms = AllowedWith(seq);
      if (cost.StepMs(total + 1) > allowed_ms) return;
      const bool is_short = seq.pending <= kShortRows && total + seq.pending <= kPrefillRows;
      if (seq.pending > 1) {
        const double target_ms = is_short ? allowed_ms : std::min(allowed_ms, ChunkMs());
        room = std::min(room, cost.RowsWithin(target_ms, limits.max_rows) - total);
      }
    } else if (seq.pending > 1) {
      room = std::min(room, cost.RowsWithin(FirstChunkMs(seq), limits.max_rows));
    }
    const std::int32_t granted = std::min(seq.pending, room);
    if (granted <= 0) return;
    rows[i] = granted;
    total += granted;
    ++num_seqs;
  }
};

}  // namespace

bool IsOwed(const PlanSeq& seq) noexcept {
  return std::isfinite(seq.deadline_ms) && (!seq.thinking || seq.pending > 1);
}

double OwedMs(const PlanSeq& seq, const CostModel& cost) noexcept {
  return PrefillMs(std::int64_t{seq.pending} + seq.owed_rows, cost) +
         seq.owed_steps * cost.StepMs(1);
}

std::int32_t NumToClose(std::span<const PlanSeq> seqs, std::span<const std::int32_t> by_deadline,
                        const CostModel& cost, const PlanLimits& limits) noexcept {
  const auto seq_at = [&](std::size_t i) -> const PlanSeq& {
    return seqs[static_cast<std::size_t>(by_deadline[i])];
  };
  std::int32_t num_close = 0;
  Demand demand;
  std::size_t num_in = 0;
  for (std::size_t i = 0; i < by_deadline.size(); ++i) {
    const double deadline_ms = seq_at(i).deadline_ms;
    // Those that are due soon after will be served beside this one, and slow it down.
    const double beside_ms = deadline_ms + OwedMs(seq_at(i), cost);
    while (num_in < by_deadline.size() && seq_at(num_in).deadline_ms <= beside_ms) {
      demand.Add(seq_at(num_in++));
    }
    // One more step: the one that is about to run. The forced text of the answer is read in one, and
    // that one may take twice as long as expected: what is left then must do for the answer.
    const double reading_ms = PrefillMs(std::int64_t{1} + seq_at(i).owed_rows, cost);
    const double step_ms = std::max(cost.StepMs(std::min(demand.num, kBatchWidth)), reading_ms);
    const double need_ms = limits.margin * limits.slack * Ms(demand, cost) + step_ms;
    if (limits.now_ms + need_ms > deadline_ms) num_close = static_cast<std::int32_t>(i) + 1;
  }
  return num_close;
}

// Until the earliest deadline, or until the thinking of somebody must end for its answer's sake.
double DueMs(std::span<const PlanSeq> seqs, std::span<const std::int32_t> by_deadline,
             const CostModel& cost, const PlanLimits& limits) noexcept {
  double due_ms = std::numeric_limits<double>::infinity();
  for (const std::int32_t at : by_deadline) {
    const PlanSeq& seq = seqs[static_cast<std::size_t>(at)];
    const double left_ms = seq.deadline_ms - limits.now_ms;
    const double spare_ms = left_ms - limits.margin * OwedMs(seq, cost);
    const bool thinks_on = seq.thinking && !seq.blocked && spare_ms > 0;
    due_ms = std::min(due_ms, thinks_on ? spare_ms : left_ms);
  }
  return due_ms;
}

std::int32_t GrantRows(std::span<const PlanSeq> seqs, std::span<const std::int32_t> by_deadline,
                       const CostModel& cost, const PlanLimits& limits,
                       std::span<std::int32_t> rows) noexcept {
  std::fill(rows.begin(), rows.end(), 0);
  StepBuilder step{seqs, cost, limits, rows};
  step.due_ms = DueMs(seqs, by_deadline, cost, limits);
  std::int32_t num_ready = 0;
  std::int32_t top = std::numeric_limits<std::int32_t>::min();
  for (const PlanSeq& seq : seqs) {
    if (seq.blocked) continue;
    ++num_ready;
    step.watched = step.watched || seq.watched;
    top = std::max(top, seq.priority);
  }
  step.alone = num_ready <= 1;
  for (const bool yields : {false, true}) {
    for (const std::int32_t at : by_deadline) {
      const PlanSeq& seq = seqs[static_cast<std::size_t>(at)];
      if (seq.blocked || !IsOwed(seq)) continue;
      if (YieldsToMoreUrgent(seq, seqs, by_deadline, cost, limits) != yields) continue;
      if (!yields || step.total == 0) step.Add(static_cast<std::size_t>(at));
    }
  }
  for (std::size_t i = 0; i < seqs.size(); ++i) {
    if (!seqs[i].blocked && !IsOwed(seqs[i]) && seqs[i].priority == top) step.Add(i);
  }
  return step.total;
}

}  // namespace edgereason
