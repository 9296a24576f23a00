// Who gets a row in the next step, and whose thinking must end now. Pure functions over plain
// structs.
//
// Two kinds of work compete. *Owed*: the prompt of a request with a deadline, and its answer, once
// its thinking is over. *Optional*: thinking, and everything without a deadline. Owed work goes
// first, the earliest deadline first whatever its priority, except that none takes the time that a
// request of higher priority needs to be in time. Where it can be cut, a step takes no more than
// half of the time until the earliest deadline: expectations may be wrong. Optional work runs only
// in the highest priority class that is present, so a more urgent request pauses a less urgent one
// between two tokens; inside the class the earliest deadline goes first, then the earliest arrival.
#pragma once

#include <cstdint>
#include <span>

#include "policy/cost.h"

namespace edgereason {

struct PlanSeq {
  std::int32_t priority = 0;    // higher is more urgent
  double deadline_ms = 0;       // absolute; infinity: none
  double given_ms = 0;          // from its arrival to its deadline
  std::int32_t pending = 0;     // rows to decode before the next token can be sampled, at least 1
  std::int32_t owed_rows = 0;   // rows forced after `pending` (close, cue), before the answer
  std::int32_t owed_steps = 0;  // answer tokens still owed, one step each
  std::int32_t claimed = 0;     // cells kept free for what it is sure to need
  bool thinking = false;        // optional work; can be closed to answer
  bool blocked = false;         // waits for cells: its demand counts, but it gets no rows
  bool watched = true;          // a slow step is felt: it streams, or has a deadline
};

struct PlanLimits {
  std::int32_t max_rows = 512;
  double now_ms = 0;
  // A prompt is cut so that a step others wait for takes about this long, or twice as long as if each
  // had one row; where nobody watches, as long as 64 rows.
  double chunk_ms = 50;
  double margin = 1.15;  // how much longer than predicted the owed work may take
  double slack = 1;      // how much longer still, for requests that are yet to come
};

// Its rows of the next step are owed: a prompt under a deadline, though thinking follows, or an
// answer. A prompt left to the end meets all that came since.
bool IsOwed(const PlanSeq& seq) noexcept;

// How long the owed work of a sequence takes if it has the engine to itself.
double OwedMs(const PlanSeq& seq, const CostModel& cost) noexcept;

// `by_deadline` are the indices of those with a deadline, the earliest first. Returns n: the
// thinking of the first n of them must end now, since otherwise the answers owed up to some
// deadline no longer fit before it.
std::int32_t NumToClose(std::span<const PlanSeq> seqs, std::span<const std::int32_t> by_deadline,
                        const CostModel& cost, const PlanLimits& limits) noexcept;

// `seqs` in the order (priority descending, deadline, arrival); `by_deadline` as above. Writes the
// rows of each into `rows`, 0: paused. Returns the sum. At least one sequence that is not blocked
// gets rows.
std::int32_t GrantRows(std::span<const PlanSeq> seqs, std::span<const std::int32_t> by_deadline,
                       const CostModel& cost, const PlanLimits& limits,
                       std::span<std::int32_t> rows) noexcept;

}  // namespace edgereason
