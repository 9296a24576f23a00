// What the outside is told, in order: pieces of text and ends of phases. Where the ring is full,
// ends wait here and text waits in its sequence; nothing is lost, and no step waits for a reader.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "context/sequence.h"
#include "edgereason/event.h"

namespace edgereason {

class Outbox {
 public:
  explicit Outbox(EventRing* ring) : ring_(ring) {}
  ~Outbox();
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;

  void PhaseEnded(SequenceId id, std::unique_ptr<PhaseResult> result, bool last);
  void Failed(SequenceId id);

  // Hands over the ends that wait.
  void Flush() noexcept;
  // Hands over what was added to the texts of those that stream.
  void FlushText(std::span<Sequence* const> sequences) noexcept;

  bool empty() const noexcept { return waiting_.empty(); }

 private:
  EventRing* ring_;
  std::vector<Event> waiting_;
};

}  // namespace edgereason
