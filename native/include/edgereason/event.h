// What the native thread tells the outside: text as it appears, and phases that ended. One writer,
// one reader, no lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <semaphore>
#include <string>
#include <string_view>
#include <vector>

#include "edgereason/phase.h"
#include "edgereason/sequence_options.h"

namespace edgereason {

// Why a sequence broke. All but kEngine end that sequence alone.
enum class Fault : std::uint8_t {
  kEngine,   // the engine is broken, and with it all that ran
  kNumbers,  // logits or hidden states that are no numbers
  kMemory,   // no memory for what it needs
  kOther,    // a fault of our own
};
inline constexpr std::array<std::string_view, 4> kFaultNames = {"engine", "numbers", "memory",
                                                                "other"};

struct Event {
  enum class Kind : std::uint8_t {
    kText,      // `text` was added to `channel`; whole UTF-8 characters
    kPhaseEnd,  // `result` is the reader's to delete
    kFailed,    // `fault` in step `step`; nothing follows for this sequence
    kProbe,     // `text` is what a probe heard, cut to kTextBytes; asked for with tell_probes
  };
  static constexpr std::size_t kTextBytes = 48;

  Kind kind = Kind::kText;
  Channel channel = Channel::kAnswer;
  std::uint8_t num_bytes = 0;
  bool last = false;  // kPhaseEnd: the chain is over, the next Run is awaited
  SequenceId id = 0;
  PhaseResult* result = nullptr;
  Fault fault = Fault::kEngine;
  std::int64_t step = 0;
  char text[kTextBytes] = {};
};

// What a kFailed says to people. `engine_error`: Engine::last_error.
std::string FaultText(const Event& event, const std::string& engine_error);

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

  // The same for one event: allocates nothing and takes no lock. False: none came.
  bool TakeOne(double timeout_ms, Event* event) noexcept;

  void Wake() noexcept;  // lets a waiting Take return

 private:
  void Await(double timeout_ms, std::size_t head) noexcept;

  std::vector<Event> entries_;
  std::size_t mask_;
  std::atomic<std::size_t> head_{0};  // next to read
  std::atomic<std::size_t> tail_{0};  // next to write
  std::atomic<bool> waiting_{false};
  std::counting_semaphore<> ready_{0};
};

}  // namespace edgereason
