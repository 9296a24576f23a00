// What the outside is told, in order: pieces of text and ends of phases. Where the ring is full,
// ends wait here and text waits in its sequence; nothing is lost, and no step waits for a reader.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
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
  // What a probe of `id` heard. Dropped where the ring is full: the next one says more.
  void Probed(SequenceId id, std::string_view text) noexcept;
  // `id` is over. Room for it was kept by Reserve.
  void Failed(SequenceId id, Fault fault, std::int64_t step) noexcept;
  // So many sequences are open: there is room to say of each that it failed, whatever else waits.
  void Reserve(std::size_t num_open);

  // Hands over the ends that wait.
  void Flush() noexcept;
  // Hands over what was added to the texts of those that stream.
  void FlushText(std::span<Sequence* const> sequences) noexcept;

  bool empty() const noexcept { return waiting_.empty(); }

 private:
  // Further failures for which there is room: of sequences that could not be opened.
  static constexpr std::size_t kSpare = 64;

  void KeepRoom();

  EventRing* ring_;
  std::vector<Event> waiting_;
  std::size_t num_kept_ = kSpare;  // of its places, for failures
};

}  // namespace edgereason
