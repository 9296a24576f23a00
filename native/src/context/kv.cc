#include "context/kv.h"

#include <algorithm>

namespace edgereason {

std::int32_t CommonPrefix(std::span<const Token> a, std::span<const Token> b) noexcept {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<std::int32_t>(end - a.begin());
}

Kv::Kv(Engine* engine, std::int32_t park_cells)
    : engine_(engine),
      cells_(engine->info().num_cells, engine->info().max_seqs),
      park_cells_(park_cells) {
  for (SeqId slot = engine->info().max_seqs - 1; slot >= 0; --slot) free_slots_.push_back(slot);
  parked_.reserve(free_slots_.size());
}

SeqId Kv::Acquire() noexcept {
  if (free_slots_.empty()) return -1;
  const SeqId slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void Kv::Release(SeqId slot) noexcept {
  engine_->Drop(slot);
  cells_.Trim(slot, 0);
  free_slots_.push_back(slot);
}

bool Kv::Fork(SeqId from, SeqId to, std::int32_t len) noexcept {
  if (!engine_->Fork(from, to, len)) return false;
  cells_.Share(from, to, len);
  return true;
}

std::int32_t Kv::Trim(SeqId slot, std::int32_t len) noexcept {
  if (cells_.Length(slot) <= len) return cells_.Length(slot);
  if (len == 0 || !engine_->Trim(slot, len)) {
    engine_->Drop(slot);
    len = 0;
  }
  cells_.Trim(slot, len);
  return len;
}

void Kv::Park(SeqId slot, std::span<const Token> tokens) {
  if (std::ssize(tokens) > park_cells_) return Release(slot);
  // A prefix of what is being parked is of no more use.
  std::erase_if(parked_, [&](const Parked& old) {
    const bool covered = CommonPrefix(old.tokens, tokens) == std::ssize(old.tokens);
    if (covered) Release(old.slot);
    return covered;
  });
  parked_.push_back({slot, ++uses_, {tokens.begin(), tokens.end()}});
  auto held = [&] {
    std::int64_t sum = 0;
    for (const Parked& parked : parked_) sum += std::ssize(parked.tokens);
    return sum;
  };
  while (held() > park_cells_) EvictOne();
}

void Kv::Pin(SeqId slot, std::span<const Token> tokens) {
  pinned_.push_back({slot, 0, {tokens.begin(), tokens.end()}});
  pinned_cells_ += static_cast<std::int32_t>(tokens.size());
}

bool Kv::EvictOne() noexcept {
  if (parked_.empty()) return false;
  const auto oldest = std::ranges::min_element(parked_, {}, &Parked::last_used);
  Release(oldest->slot);
  parked_.erase(oldest);
  return true;
}

Kv::Prefix Kv::FindParked(std::span<const Token> prompt) noexcept {
  Prefix best;
  Parked* found = nullptr;
  for (const Parked& pinned : pinned_) {
    const std::int32_t len = CommonPrefix(pinned.tokens, prompt);
    if (len > best.len) best = {pinned.slot, len};
  }
  for (Parked& parked : parked_) {
    const std::int32_t len = CommonPrefix(parked.tokens, prompt);
    if (len <= best.len) continue;
    best = {parked.slot, len};
    found = &parked;
  }
  if (found != nullptr) found->last_used = ++uses_;
  return best;
}

}  // namespace edgereason
