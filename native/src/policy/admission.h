// Overload: which requests cannot be answered in time, whatever is done.
//
//   Refusals refusals;
//   for (index : refusals.Find(seqs, may, cost, now_ms)) ...   // told at once; the rest has room
//
// One step after another is taken for one machine that does the work of those it takes by deadline
// (earliest first is optimal), and as many as possible are to be in time: Moore and Hodgson, "An n
// job, one machine sequencing algorithm for minimizing the number of late jobs", 1968. Higher
// priorities choose first. Costs are taken as they are expected, without any margin: this refuses
// only what would fail if all went well.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "policy/cost.h"
#include "policy/plan.h"

namespace edgereason {

class Refusals {
 public:
  // `seqs` by deadline, the earliest first; all have one. `may[i]`: it may be refused, since nothing
  // of it was said yet. Returns the indices of those to refuse, in no order. Who could be served
  // alone is never refused for others' sake unless those are served. Valid until the next call.
  std::span<const std::int32_t> Find(std::span<const PlanSeq> seqs,
                                     std::span<const std::uint8_t> may, const CostModel& cost,
                                     double now_ms);

 private:
  bool Fits(std::span<const PlanSeq> seqs, const CostModel& cost, double now_ms);
  void AddClass(std::span<const PlanSeq> seqs, std::int32_t priority, const CostModel& cost,
                double now_ms);

  // By index into `seqs`; kept so that their space is.
  std::vector<std::uint8_t> taken_;
  std::vector<std::uint8_t> bound_;  // up to its deadline all that is taken must be done
  std::vector<std::int32_t> class_;  // of the class that is being added: taken, or may be
  std::vector<std::int32_t> open_;   // may be refused, by priority, highest first
  std::vector<std::int32_t> refused_;
};

}  // namespace edgereason
