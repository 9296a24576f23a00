// Who gets KV cells: admission of requests that wait, and what gives way when cells run out.
#include <algorithm>

#include "edgereason/scheduler.h"

namespace edgereason {
namespace {

constexpr std::int32_t kWorthWaiting = 32;  // tokens
constexpr std::int32_t kWorthKeeping = 8;   // tokens

}  // namespace

void Scheduler::Admit() {
  for (Sequence* sequence : active_) {
    if (sequence->slot >= 0 || PrefixIsComing(*sequence)) continue;
    if (Admit(sequence)) continue;  // none overtakes a more urgent one
    // What was room enough when it came may be held by a new prefix: alone, it will never fit.
    const auto runs = [](const auto& entry) { return entry.second->slot >= 0; };
    if (std::ranges::none_of(sequences_, runs)) EndChain(sequence, StopReason::kContext, NowMs());
    break;
  }
}

// A more urgent request is just reading a prompt that starts alike: in a few steps its KV is there
// to be shared.
bool Scheduler::PrefixIsComing(const Sequence& sequence) const noexcept {
  if ((info_.caps & kFork) == 0) return false;
  for (const Sequence* other : active_) {
    if (other == &sequence) return false;
    if (other->slot < 0 || other->pending() <= 1) continue;
    const std::int32_t common = CommonPrefix(other->tokens(), sequence.tokens());
    if (common >= other->num_decoded + kWorthWaiting) return true;
  }
  return false;
}

// Frees KV that nobody uses at present: a parked prefix, or that of a request between two runs,
// which is decoded anew.
bool Scheduler::EvictOne() {
  if (kv_.EvictOne()) return true;
  for (const auto& [id, sequence] : sequences_) {
    if (sequence->slot < 0 || sequence->running()) continue;
    ReleaseKv(sequence.get());
    return true;
  }
  return false;
}

bool Scheduler::Admit(Sequence* sequence) {
  std::int32_t reserved = 0;
  for (const auto& [id, other] : sequences_) {
    if (other->slot >= 0) reserved += other->reserve() + other->pending();
  }
  // The longest prefix that somebody's KV already holds: a live request's, or a parked one's.
  Kv::Prefix prefix = kv_.FindParked(sequence->tokens());
  for (const auto& [id, other] : sequences_) {
    if (other->slot < 0) continue;
    const auto decoded = other->tokens().first(static_cast<std::size_t>(other->num_decoded));
    const std::int32_t len = CommonPrefix(decoded, sequence->tokens());
    if (len > prefix.len) prefix = {other->slot, len};
  }
  // The last token is decoded anew, for its logits.
  prefix.len = std::min(prefix.len, static_cast<std::int32_t>(sequence->tokens().size()) - 1);
  const std::int32_t needed = sequence->pending() - prefix.len + sequence->reserve();
  if (needed + reserved > kv_.num_free()) {
    return EvictOne() && Admit(sequence);
  }
  const SeqId slot = kv_.Acquire();
  if (slot < 0) return EvictOne() && Admit(sequence);
  sequence->slot = slot;
  if (prefix.len > 0 && kv_.Fork(prefix.slot, slot, prefix.len)) {
    sequence->num_decoded = prefix.len;
    sequence->result()->num_cached = prefix.len;
  }
  if (sequence->num_decoded >= sequence->num_slots()) return true;
  ReleaseKv(sequence);  // slots of a prefix are never decoded
  return false;
}

// Requests with deadlines leave behind what the prompts of two in a row began with, such as a
// system prompt, for all that follow: where time is short, reading it anew may be all of it.
void Scheduler::ParkBeginning(Sequence* sequence) {
  const auto decoded = sequence->tokens().first(static_cast<std::size_t>(sequence->num_decoded));
  const std::int32_t common = CommonPrefix(last_begun_, decoded);
  if (!decoded.empty()) last_begun_.assign(decoded.begin(), decoded.end());
  if (common < kWorthKeeping || kv_.FindParked(decoded).len >= common) return;
  if (kv_.Trim(sequence->slot, common) == common) {
    kv_.Park(sequence->slot, decoded.first(static_cast<std::size_t>(common)));
  } else {
    kv_.Release(sequence->slot);
  }
  sequence->slot = -1;
}

// Takes back rows for which no cell is left. Prompts and answers have their cells claimed; each
// further thought takes one of those that remain.
void Scheduler::FitCells() {
  const auto thinks_on = [](const PlanSeq& seq) { return seq.thinking && seq.pending == 1; };
  std::int32_t claimed = 0;
  for (const auto& [id, sequence] : sequences_) {
    if (sequence->slot < 0) continue;
    claimed += sequence->reserve();
    if (!sequence->thinking() || sequence->pending() > 1) claimed += sequence->pending();
  }
  std::int32_t wanted = 0;
  for (std::size_t i = 0; i < plan_.size(); ++i) {
    if (thinks_on(plan_[i])) wanted += grants_[i];
  }
  while (kv_.num_free() - claimed < wanted && EvictOne()) {
  }
  std::int32_t available = std::max(kv_.num_free() - claimed, 0);
  for (std::size_t i = 0; i < plan_.size(); ++i) {
    if (!thinks_on(plan_[i]) || grants_[i] == 0) continue;
    if (available == 0) {
      grants_[i] = 0;
      plan_[i].blocked = true;
    } else {
      --available;
    }
  }
}

// Nothing could run for want of cells: the least urgent request stops thinking, or ends.
void Scheduler::MakeRoom() {
  made_room_ = true;
  if (EvictOne()) return;
  const double now_ms = NowMs();
  SweepProbes();
  if (!probes_.empty()) {
    DropProbe(probes_.back()->owner);
    return;
  }
  for (auto it = active_.rbegin(); it != active_.rend(); ++it) {
    Sequence* sequence = *it;
    if (sequence->slot < 0) continue;
    if (sequence->thinking()) {
      const auto verdict = sequence->CloseThinking(StopReason::kContext);
      if (verdict.ended) EndPhase(sequence, verdict, now_ms);
    } else {
      EndChain(sequence, StopReason::kContext, now_ms);
    }
    return;
  }
}

}  // namespace edgereason
