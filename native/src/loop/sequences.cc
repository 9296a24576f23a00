#include "loop/sequences.h"

#include <algorithm>
#include <utility>

namespace edgereason {
namespace {

bool MoreUrgent(const Sequence* a, const Sequence* b) noexcept {
  const SequenceOptions& x = a->options();
  const SequenceOptions& y = b->options();
  if (x.priority != y.priority) return x.priority > y.priority;
  if (x.deadline_ms != y.deadline_ms) return x.deadline_ms < y.deadline_ms;
  if (x.arrival_ms != y.arrival_ms) return x.arrival_ms < y.arrival_ms;
  return a->id() < b->id();
}

bool DueEarlier(const Sequence* a, const Sequence* b) noexcept {
  const double x = a->options().deadline_ms;
  const double y = b->options().deadline_ms;
  return x != y ? x < y : a->id() < b->id();
}

}  // namespace

void Sequences::Add(std::unique_ptr<Sequence> sequence) {
  const SequenceId id = sequence->id();
  // So that Activate never allocates.
  active_.reserve(all_.size() + 1);
  by_deadline_.reserve(all_.size() + 1);
  all_.emplace(id, std::move(sequence));
}

Sequence* Sequences::Find(SequenceId id) noexcept {
  const auto found = all_.find(id);
  return found == all_.end() ? nullptr : found->second.get();
}

void Sequences::Remove(Sequence* sequence) {
  Deactivate(sequence);
  all_.erase(sequence->id());
}

void Sequences::Activate(Sequence* sequence) {
  active_.insert(std::ranges::upper_bound(active_, sequence, MoreUrgent), sequence);
  by_deadline_.insert(std::ranges::upper_bound(by_deadline_, sequence, DueEarlier), sequence);
}

void Sequences::Deactivate(Sequence* sequence) noexcept {
  std::erase(active_, sequence);
  std::erase(by_deadline_, sequence);
}

}  // namespace edgereason
