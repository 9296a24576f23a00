#include "loop/outbox.h"

namespace edgereason {

Outbox::~Outbox() {
  for (const Event& event : waiting_) delete event.result;
}

void Outbox::PhaseEnded(SequenceId id, std::unique_ptr<PhaseResult> result, bool last) {
  waiting_.push_back(
      {.kind = Event::Kind::kPhaseEnd, .last = last, .id = id, .result = result.release()});
}

void Outbox::Failed(SequenceId id) {
  waiting_.push_back({.kind = Event::Kind::kFailed, .last = true, .id = id});
}

void Outbox::Flush() noexcept {
  std::size_t num_sent = 0;
  while (num_sent < waiting_.size() && ring_->Push(waiting_[num_sent])) ++num_sent;
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(num_sent));
}

void Outbox::FlushText(std::span<Sequence* const> sequences) noexcept {
  Event event;
  for (Sequence* sequence : sequences) {
    if (!sequence->options().stream) continue;
    while (sequence->NextText(&event)) {
      if (ring_->Push(event)) continue;
      sequence->TakeBack(event);
      return;
    }
  }
}

}  // namespace edgereason
