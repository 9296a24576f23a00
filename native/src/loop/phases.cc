#include "loop/phases.h"

#include <memory>
#include <utility>

namespace edgereason {

void Phases::Run(Sequence* sequence, std::vector<Phase> chain, double now_ms) {
  if (sequence->broken) return;
  sequence->Enqueue(std::move(chain), now_ms);
  if (sequence->running()) return;
  sequences_->Activate(sequence);
  Advance(sequence, now_ms);
}

// Starts phases until one needs the engine, or none is left.
void Phases::Advance(Sequence* sequence, double now_ms) {
  while (!sequence->running() && sequence->has_next()) {
    memory_->Trim(sequence, sequence->Begin());
    if (sequence->ends_at_once()) {
      End(sequence, {.ended = true, .reason = StopReason::kBudget}, now_ms);
    } else if (sequence->interrupted && sequence->thinking()) {
      End(sequence, {.ended = true, .reason = StopReason::kInterrupted}, now_ms);
    }
  }
}

void Phases::End(Sequence* sequence, const Sequence::Verdict& verdict, double now_ms) {
  probes_->Drop(sequence);
  const bool last = !sequence->has_next();
  const Role role = sequence->phase().role;
  const std::int32_t kind = sequence->phase().kind;
  std::unique_ptr<PhaseResult> result = sequence->End(verdict, now_ms);
  LearnLength(role, kind, *result);
  outbox_->PhaseEnded(sequence->id(), std::move(result), last);
  if (last) {
    sequences_->Deactivate(sequence);
  } else {
    Advance(sequence, now_ms);
  }
}

// An answer that was cut would have been longer. One that was cancelled says nothing, and one that
// got no token was never begun.
void Phases::LearnLength(Role role, std::int32_t kind, const PhaseResult& result) {
  const bool answers = role == Role::kAnswer || role == Role::kDraft;
  const auto length = static_cast<std::int32_t>(result.tokens.size()) - result.num_reasoning;
  if (!answers || length == 0 || result.reason == StopReason::kCancelled) return;
  lengths_->Observe(kind, length, result.reason != StopReason::kStop);
}

void Phases::EndChain(Sequence* sequence, StopReason reason, double now_ms) {
  sequence->ClearChain();
  if (sequence->running()) End(sequence, {.ended = true, .reason = reason}, now_ms);
}

void Phases::CloseThinking(Sequence* sequence, StopReason reason, double now_ms) {
  if (!sequence->thinking()) return;
  const auto verdict = sequence->CloseThinking(reason);
  if (verdict.ended) End(sequence, verdict, now_ms);
}

void Phases::Break(Sequence* sequence, Fault fault, std::int64_t step) noexcept {
  if (sequence->broken) return;
  probes_->Drop(sequence);
  memory_->Release(sequence);
  sequences_->Deactivate(sequence);
  sequence->Break();
  outbox_->Failed(sequence->id(), fault, step);
}

}  // namespace edgereason
