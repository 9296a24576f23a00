#include "loop/outbox.h"

#include <algorithm>

#include "policy/stop.h"

namespace edgereason {

Outbox::~Outbox() {
  for (const Event& event : waiting_) delete event.result;
}

void Outbox::KeepRoom() {
  const std::size_t needed = waiting_.size() + num_kept_ + 1;
  if (waiting_.capacity() < needed) waiting_.reserve(std::max(needed, 2 * waiting_.capacity()));
}

void Outbox::Reserve(std::size_t num_open) {
  num_kept_ = num_open + kSpare;
  KeepRoom();
}

void Outbox::PhaseEnded(SequenceId id, std::unique_ptr<PhaseResult> result, bool last) {
  KeepRoom();
  waiting_.push_back(
      {.kind = Event::Kind::kPhaseEnd, .last = last, .id = id, .result = result.release()});
}

void Outbox::Failed(SequenceId id, Fault fault, std::int64_t step) noexcept {
  waiting_.push_back(
      {.kind = Event::Kind::kFailed, .last = true, .id = id, .fault = fault, .step = step});
}

void Outbox::Probed(SequenceId id, std::string_view text) noexcept {
  Event event{.kind = Event::Kind::kProbe, .id = id};
  text = text.substr(0, Event::kTextBytes);
  text.remove_suffix(static_cast<std::size_t>(NumUnfinishedUtf8(text)));
  event.num_bytes = static_cast<std::uint8_t>(text.size());
  std::ranges::copy(text, event.text);
  (void)ring_->Push(event);
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
