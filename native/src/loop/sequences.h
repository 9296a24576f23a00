// All sequences that are open, and those of them that have something to do, in order.
#pragma once

#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "context/sequence.h"

namespace edgereason {

class Sequences {
 public:
  void Add(std::unique_ptr<Sequence> sequence);
  Sequence* Find(SequenceId id) noexcept;  // null: closed in the meantime
  void Remove(Sequence* sequence);

  void Activate(Sequence* sequence);  // it has a phase to run
  void Deactivate(Sequence* sequence) noexcept;

  // Those with a phase: by priority, deadline, arrival.
  std::span<Sequence* const> active() const noexcept { return active_; }
  // The same by deadline; those without one last.
  std::span<Sequence* const> by_deadline() const noexcept { return by_deadline_; }
  // All, in no order.
  const std::unordered_map<SequenceId, std::unique_ptr<Sequence>>& all() const noexcept {
    return all_;
  }

 private:
  std::unordered_map<SequenceId, std::unique_ptr<Sequence>> all_;
  std::vector<Sequence*> active_;
  std::vector<Sequence*> by_deadline_;
};

}  // namespace edgereason
