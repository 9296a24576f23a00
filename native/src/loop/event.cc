#include "edgereason/event.h"

#include <chrono>

namespace edgereason {

std::string FaultText(const Event& event, const std::string& engine_error) {
  const std::string step = std::to_string(event.step);
  switch (event.fault) {
    case Fault::kEngine:
      return "the engine failed: " + engine_error;
    case Fault::kNumbers:
      return "step " + step + " gave numbers that are not finite (NaN or infinity)";
    case Fault::kMemory:
      return "out of memory in step " + step;
    case Fault::kOther:
      break;
  }
  return "a fault of the core ended this request in step " + step;
}

EventRing::EventRing(std::size_t capacity_log2)
    : entries_(std::size_t{1} << capacity_log2), mask_(entries_.size() - 1) {}

EventRing::~EventRing() {
  for (const Event& event : Take(0, entries_.size())) delete event.result;
}

bool EventRing::Push(const Event& event) noexcept {
  const std::size_t tail = tail_.load(std::memory_order_relaxed);
  if (tail - head_.load(std::memory_order_acquire) == entries_.size()) return false;
  entries_[tail & mask_] = event;
  tail_.store(tail + 1, std::memory_order_seq_cst);
  Wake();
  return true;
}

void EventRing::Wake() noexcept {
  if (waiting_.exchange(false, std::memory_order_seq_cst)) ready_.release();
}

// Until something lies behind `head`, or the time is over.
void EventRing::Await(double timeout_ms, std::size_t head) noexcept {
  if (timeout_ms <= 0 || tail_.load(std::memory_order_acquire) != head) return;
  waiting_.store(true, std::memory_order_seq_cst);
  // Looked at again after `waiting_` is visible: a Push in between would not have woken us.
  if (tail_.load(std::memory_order_seq_cst) == head) {
    (void)ready_.try_acquire_for(std::chrono::duration<double, std::milli>(timeout_ms));
  }
  if (!waiting_.exchange(false, std::memory_order_seq_cst)) (void)ready_.try_acquire();
}

bool EventRing::TakeOne(double timeout_ms, Event* event) noexcept {
  const std::size_t head = head_.load(std::memory_order_relaxed);
  Await(timeout_ms, head);
  if (tail_.load(std::memory_order_acquire) == head) return false;
  *event = entries_[head & mask_];
  head_.store(head + 1, std::memory_order_release);
  return true;
}

std::vector<Event> EventRing::Take(double timeout_ms, std::size_t max_events) {
  std::vector<Event> events;
  std::size_t head = head_.load(std::memory_order_relaxed);
  Await(timeout_ms, head);
  const std::size_t tail = tail_.load(std::memory_order_acquire);
  for (; head != tail && events.size() < max_events; ++head)
    events.push_back(entries_[head & mask_]);
  head_.store(head, std::memory_order_release);
  return events;
}

}  // namespace edgereason
