#include "policy/admission.h"

#include <algorithm>
#include <cmath>

#include "policy/demand.h"

namespace edgereason {
namespace {

constexpr std::int32_t kMostWidth = 32;  // answers that are decoded together, at most
constexpr double kRelativeError = 1e-9;  // sums of times are no exact numbers

// As fast as it can be done.
double Ms(const Demand& demand, const CostModel& cost) noexcept {
  double row_ms = cost.StepMs(1);
  for (std::int32_t width = 2; width <= std::min(demand.num, kMostWidth); width *= 2) {
    row_ms = std::min(row_ms, cost.StepMs(width) / width);
  }
  return demand.Ms(cost, row_ms);
}

bool IsLate(double now_ms, double work_ms, double deadline_ms) noexcept {
  return work_ms > (deadline_ms - now_ms) + kRelativeError * std::abs(work_ms);
}

}  // namespace

// All that is taken is done in time.
bool Refusals::Fits(std::span<const PlanSeq> seqs, const CostModel& cost, double now_ms) {
  Demand work;
  for (std::size_t i = 0; i < seqs.size(); ++i) {
    if (taken_[i] == 0) continue;
    work.Add(seqs[i]);
    if (bound_[i] != 0 && IsLate(now_ms, Ms(work, cost), seqs[i].deadline_ms)) return false;
  }
  return true;
}

// Takes as many of one priority as fit beside what is taken: by deadline, and where one is too many
// the longest goes.
void Refusals::AddClass(std::span<const PlanSeq> seqs, std::int32_t priority, const CostModel& cost,
                        double now_ms) {
  class_.clear();
  for (const std::int32_t index : open_) {
    const auto i = static_cast<std::size_t>(index);
    if (seqs[i].priority != priority) continue;
    if (IsLate(now_ms, OwedMs(seqs[i], cost), seqs[i].deadline_ms)) {
      refused_.push_back(index);
      continue;
    }
    taken_[i] = bound_[i] = 1;
    class_.push_back(index);
    while (!class_.empty() && !Fits(seqs, cost, now_ms)) {
      const auto longest = std::ranges::max_element(class_, {}, [&](std::int32_t at) {
        return OwedMs(seqs[static_cast<std::size_t>(at)], cost);
      });
      taken_[static_cast<std::size_t>(*longest)] = bound_[static_cast<std::size_t>(*longest)] = 0;
      refused_.push_back(*longest);
      class_.erase(longest);
    }
  }
}

std::span<const std::int32_t> Refusals::Find(std::span<const PlanSeq> seqs,
                                             std::span<const std::uint8_t> may,
                                             const CostModel& cost, double now_ms) {
  refused_.clear();
  open_.clear();
  taken_.assign(seqs.size(), 0);
  bound_.assign(seqs.size(), 0);
  Demand work;
  for (std::size_t i = 0; i < seqs.size(); ++i) {
    if (may[i] != 0) {
      open_.push_back(static_cast<std::int32_t>(i));
      continue;
    }
    taken_[i] = 1;
    work.Add(seqs[i]);
    // Where what has begun is late already, it gets the text so far; others do not pay for it.
    bound_[i] = !IsLate(now_ms, Ms(work, cost), seqs[i].deadline_ms);
  }
  std::ranges::stable_sort(open_, std::ranges::greater{}, [&](std::int32_t index) {
    return seqs[static_cast<std::size_t>(index)].priority;
  });
  for (std::size_t at = 0; at < open_.size(); ++at) {
    const std::int32_t priority = seqs[static_cast<std::size_t>(open_[at])].priority;
    if (at > 0 && seqs[static_cast<std::size_t>(open_[at - 1])].priority == priority) continue;
    AddClass(seqs, priority, cost, now_ms);
  }
  return refused_;
}

}  // namespace edgereason
