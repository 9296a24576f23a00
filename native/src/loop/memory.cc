#include "loop/memory.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace edgereason {
namespace {

constexpr std::int32_t kWorthWaiting = 32;  // items
constexpr std::int32_t kWorthKeeping = 8;   // items

PlanSeq Owed(const Sequence& sequence) noexcept {
  PlanSeq owed;
  sequence.FillOwed(&owed);
  return owed;
}

}  // namespace

Memory::Memory(Engine* engine, Sequences* sequences, std::int32_t park_cells)
    : engine_(engine),
      sequences_(sequences),
      can_fork_((engine->info().caps & kFork) != 0),
      kv_(engine, can_fork_ ? park_cells : 0) {}

bool Memory::IsComing(const Sequence& sequence) const noexcept {
  if (!can_fork_ || sequence.scores_prompt()) return false;
  for (const Sequence* other : sequences_->active()) {
    if (other == &sequence) return false;
    if (other->seq < 0 || other->pending() <= 1) continue;
    if (other->context().key() != sequence.context().key()) continue;
    const std::int32_t common = CommonPrefix(other->context().items(), sequence.context().items());
    if (common >= other->num_decoded + kWorthWaiting) return true;
  }
  return false;
}

bool Memory::anyone_has_kv() const noexcept {
  return std::ranges::any_of(sequences_->all(),
                             [](const auto& entry) { return entry.second->seq >= 0; });
}

// The longest beginning that somebody's KV holds: a live sequence's, or what was kept.
Kv::Match Memory::FindShared(const Sequence& sequence) noexcept {
  const auto items = sequence.context().items();
  Kv::Match best = kv_.FindKept(sequence.context().key(), items);
  for (const auto& [id, other] : sequences_->all()) {
    if (other->seq < 0 || other->context().key() != sequence.context().key()) continue;
    const std::int32_t len = CommonPrefix(other->decoded(), items);
    if (len > best.len) best = {other->seq, len};
  }
  // The last item is decoded anew, for its logits.
  best.len = std::min(best.len, sequence.context().size() - 1);
  if (sequence.scores_prompt()) best.len = std::min(best.len, sequence.context().num_prefix());
  return best;
}

bool Memory::Admit(Sequence* sequence) {
  std::int32_t reserved = 0;
  for (const auto& [id, other] : sequences_->all()) {
    if (other->seq >= 0) reserved += Owed(*other).claimed + other->pending();
  }
  const Kv::Match shared = FindShared(*sequence);
  const std::int32_t needed = sequence->pending() - shared.len + Owed(*sequence).claimed;
  if (needed + reserved > kv_.num_free()) return EvictOne() && Admit(sequence);
  const SeqId seq = kv_.Acquire();
  if (seq < 0) return EvictOne() && Admit(sequence);
  sequence->seq = seq;
  if (shared.len > 0 && kv_.Fork(shared.seq, seq, shared.len)) {
    sequence->num_decoded = shared.len;
    sequence->result()->num_cached = shared.len;
  }
  if (sequence->num_decoded >= sequence->context().num_prefix()) return true;
  Release(sequence);  // positions of a prefix are never decoded
  return false;
}

void Memory::Release(Sequence* sequence) noexcept {
  if (sequence->seq < 0) return;
  kv_.Release(sequence->seq);
  sequence->seq = -1;
  sequence->num_decoded = 0;
}

void Memory::Trim(Sequence* sequence, std::int32_t len) noexcept {
  if (sequence->seq >= 0) sequence->num_decoded = kv_.Trim(sequence->seq, len);
  // Positions of a prefix are never decoded: they come by a fork, on admission.
  if (sequence->num_decoded < sequence->context().num_prefix()) Release(sequence);
}

void Memory::Forget(Sequence* sequence, bool park) {
  if (park && sequence->num_decoded > 0) {
    kv_.Park(sequence->seq, sequence->context().key(), sequence->decoded());
    return;
  }
  if (std::isfinite(sequence->options().deadline_ms)) ParkBeginning(sequence);
  Release(sequence);
}

// Requests with deadlines leave behind what the prompts of two in a row began with, such as a
// system prompt, for all that follow: where time is short, reading it anew may be all of it.
void Memory::ParkBeginning(Sequence* sequence) {
  const auto decoded = sequence->decoded();
  const ContextKey key = sequence->context().key();
  const std::int32_t common = CommonPrefix(last_begun_, decoded);
  if (!decoded.empty()) last_begun_.assign(decoded.begin(), decoded.end());
  if (common < kWorthKeeping || kv_.FindKept(key, decoded).len >= common) return;
  if (kv_.Trim(sequence->seq, common) == common) {
    kv_.Park(sequence->seq, key, decoded.first(static_cast<std::size_t>(common)));
  } else {
    kv_.Release(sequence->seq);
  }
  sequence->seq = -1;
}

void Memory::SortIdle() {
  idle_.clear();
  if (sequences_->all().size() == sequences_->active().size()) return;
  for (const auto& [id, sequence] : sequences_->all()) {
    if (sequence->seq >= 0 && !sequence->running()) idle_.push_back(sequence.get());
  }
  std::ranges::sort(idle_, {}, &Sequence::id);
}

bool Memory::EvictOne() {
  if (kv_.EvictOne()) return true;
  SortIdle();
  if (idle_.empty()) return false;
  Release(idle_.front());
  return true;
}

void Memory::FillView(StepView* view) {
  view->num_free_cells = kv_.num_free();
  SortIdle();
  for (const Sequence* sequence : idle_) {
    view->num_claimed_cells += Owed(*sequence).claimed + sequence->pending();
  }
  if (!view->lacks_cells()) return;
  candidates_.clear();
  for (std::int32_t i = 0; i < kv_.num_parked(); ++i) candidates_.push_back(kv_.parked(i));
  for (const Sequence* sequence : idle_) candidates_.push_back(sequence->seq);
  freed_.resize(candidates_.size());
  kv_.CountFreed(candidates_, freed_);
  Eviction sum;
  const auto num_parked = static_cast<std::size_t>(kv_.num_parked());
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    sum.num_freed = freed_[i];
    if (i >= num_parked) {
      const Sequence& sequence = *idle_[i - num_parked];
      sum.num_claimed += Owed(sequence).claimed + sequence.pending();
    }
    view->evictions.push_back(sum);
  }
}

void Memory::Evict(std::int32_t num) {
  const std::int32_t num_parked = std::min(num, kv_.num_parked());
  for (std::int32_t i = 0; i < num_parked; ++i) kv_.EvictOne();
  for (std::int32_t i = 0; i < num - num_parked; ++i) Release(idle_[static_cast<std::size_t>(i)]);
}

bool Memory::Restore(ContextKey key, std::span<const Token> tokens,
                     std::span<const std::uint8_t> state) {
  std::vector<ContextItem> items;
  for (const Token token : tokens) items.push_back(ContextItem::OfToken(token));
  if (kv_.FindKept(key, items).len == std::ssize(items)) return true;
  const auto num = static_cast<std::int32_t>(items.size());
  if (num > kv_.park_cells()) return false;
  std::int32_t reserved = 0;  // nobody who runs gives anything up for it
  for (const auto& [id, other] : sequences_->all()) {
    if (other->seq >= 0) reserved += Owed(*other).claimed + other->pending();
  }
  SeqId seq = kv_.Acquire();
  while (seq < 0 && kv_.EvictOne()) seq = kv_.Acquire();
  while (seq >= 0 && kv_.num_free() < num + reserved && kv_.EvictOne()) {
  }
  if (seq < 0 || kv_.num_free() < num + reserved) {
    if (seq >= 0) kv_.Release(seq);
    return false;
  }
  try {
    engine_->Load(seq, state);
  } catch (...) {
    kv_.Release(seq);
    throw;
  }
  kv_.Append(seq, num);
  kv_.Park(seq, key, items);
  return true;
}

void Memory::LoadPrefix(PrefixRef prefix, const PrefixKv& kv) {
  const EngineInfo& info = engine_->info();
  // One more sequence stays free, for requests.
  if (kv_.num_pinned() + 2 > info.max_seqs) {
    throw Error(ErrorCode::kContextFull,
                "all " + std::to_string(info.max_seqs) + " sequences are held by prefixes",
                "open the model for more sequences, or fewer prefixes");
  }
  if (std::int64_t{prefix.num_positions} + 1 > kv_.num_unpinned()) {
    throw Error(ErrorCode::kContextFull,
                "the prefix has " + std::to_string(prefix.num_positions) +
                    " slots, the context has " + std::to_string(kv_.num_unpinned()) +
                    " cells for it and for requests",
                "open the model with a larger context");
  }
  SeqId seq = kv_.Acquire();
  while (seq < 0 && EvictOne()) seq = kv_.Acquire();
  while (seq >= 0 && kv_.num_free() <= prefix.num_positions && EvictOne()) {
  }
  if (seq < 0 || kv_.num_free() <= prefix.num_positions) {
    if (seq >= 0) kv_.Release(seq);
    throw Error(ErrorCode::kContextFull, "requests that run leave no room for a prefix",
                "load it before, with Reasoner.open(prefixes=...), or try again");
  }
  try {
    engine_->LoadPrefix(seq, kv);
  } catch (...) {
    kv_.Release(seq);
    throw;
  }
  kv_.Append(seq, prefix.num_positions);
  kv_.Pin(seq, prefix);
}

}  // namespace edgereason
