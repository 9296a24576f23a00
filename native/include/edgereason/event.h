// What the native thread tells the outside: text as it appears, and phases that ended. One writer,
// one reader, no lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <semaphore>
#include <vector>

#include "edgereason/phase.h"
#include "edgereason/sequence_options.h"

namespace edgereason {

struct Event {
  enum class Kind : std::uint8_t {
    kText,      // `text` was added to `channel`; whole UTF-8 characters
    kPhaseEnd,  // `result` is the reader's to delete
    kFailed,    // the engine broke; nothing follows for this sequence
  };
  static constexpr std::size_t kTextBytes = 48;

  Kind kind = Kind::kText;
  Channel channel = Channel::kAnswer;
  std::uint8_t num_bytes = 0;
  bool last = false;  // kPhaseEnd: the chain is over, the next Run is awaited
  SequenceId id = 0;
  PhaseResult* result = nullptr;
  char text[kTextBytes] = {};
};

class EventRing {
 public:
  explicit EventRing(std::size_t capacity_log2 = 12);
  ~EventRing();
  EventRing(const EventRing&) = delete;
  EventRing& operator=(const EventRing&) = delete;

  // False when the ring is full: nothing was taken, try again after the next step.
  bool Push(const Event& event) noexcept;

  // Waits up to timeout_ms for an event, then takes all there are, at most `max_events`. Empty on
  // time-out or Wake.
  std::vector<Event> Take(double timeout_ms, std::size_t max_events);

  void Wake() noexcept;  // lets a waiting Take return

 private:
  std::vector<Event> entries_;
  std::size_t mask_;
  std::atomic<std::size_t> head_{0};  // next to read
  std::atomic<std::size_t> tail_{0};  // next to write
  std::atomic<bool> waiting_{false};
  std::counting_semaphore<> ready_{0};
};

}  // namespace edgereason
