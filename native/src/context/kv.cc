#include "context/kv.h"

#include <algorithm>
#include <utility>

namespace edgereason {

Kv::Kv(Engine* engine, std::int32_t park_cells)
    : engine_(engine),
      cells_(engine->info().num_cells, engine->info().max_seqs),
      park_cells_(park_cells) {
  for (SeqId seq = engine->info().max_seqs - 1; seq >= 0; --seq) free_.push_back(seq);
  parked_.reserve(free_.size());
}

SeqId Kv::Acquire() noexcept {
  if (free_.empty()) return -1;
  const SeqId seq = free_.back();
  free_.pop_back();
  return seq;
}

void Kv::Release(SeqId seq) noexcept {
  engine_->Drop(seq);
  cells_.Trim(seq, 0);
  free_.push_back(seq);
}

bool Kv::Fork(SeqId from, SeqId to, std::int32_t len) noexcept {
  if (!engine_->Fork(from, to, len)) return false;
  cells_.Share(from, to, len);
  return true;
}

std::int32_t Kv::Trim(SeqId seq, std::int32_t len) noexcept {
  if (cells_.Length(seq) <= len) return cells_.Length(seq);
  if (len == 0 || !engine_->Trim(seq, len)) {
    engine_->Drop(seq);
    len = 0;
  }
  cells_.Trim(seq, len);
  return len;
}

void Kv::Park(SeqId seq, ContextKey key, std::span<const ContextItem> items) {
  if (std::ssize(items) > park_cells_) return Release(seq);
  // The beginning of what is being parked is of no more use.
  std::erase_if(parked_, [&](const Parked& old) {
    const bool covered = old.key == key && CommonPrefix(old.items, items) == std::ssize(old.items);
    if (covered) Release(old.seq);
    return covered;
  });
  parked_.push_back({seq, key, {items.begin(), items.end()}});
  const auto held = [&] {
    std::int64_t sum = 0;
    for (const Parked& parked : parked_) sum += std::ssize(parked.items);
    return sum;
  };
  while (held() > park_cells_) EvictOne();
}

std::vector<KeptTokens> Kv::KeptOfTokens() const {
  std::vector<KeptTokens> kept;
  for (const Parked& parked : parked_) {
    KeptTokens one{.key = parked.key, .tokens = {}};
    for (const ContextItem item : parked.items) one.tokens.push_back(item.token());
    if (std::ranges::count(one.tokens, kNoToken) == 0) kept.push_back(std::move(one));
  }
  return kept;
}

std::vector<std::uint8_t> Kv::Save(const KeptTokens& kept) const {
  const auto is_it = [&](const Parked& parked) {
    const auto same = [](ContextItem item, Token token) { return item.token() == token; };
    return parked.key == kept.key && std::ranges::equal(parked.items, kept.tokens, same);
  };
  const auto found = std::ranges::find_if(parked_, is_it);
  return found == parked_.end() ? std::vector<std::uint8_t>{} : engine_->Save(found->seq);
}

void Kv::Pin(SeqId seq, PrefixRef prefix) {
  Context rows(0, prefix, prefix.num_positions);
  rows.Restart({}, 0);
  pinned_.push_back({seq, {rows.items().begin(), rows.items().end()}});
  pinned_cells_ += prefix.num_positions;
}

bool Kv::EvictOne() noexcept {
  if (parked_.empty()) return false;
  Release(parked_.front().seq);
  parked_.erase(parked_.begin());
  return true;
}

Kv::Match Kv::FindKept(ContextKey key, std::span<const ContextItem> prompt) noexcept {
  Match best;
  for (const Pinned& pinned : pinned_) {
    const std::int32_t len = CommonPrefix(pinned.items, prompt);
    if (len > best.len) best = {pinned.seq, len};
  }
  auto found = parked_.end();
  for (auto it = parked_.begin(); it != parked_.end(); ++it) {
    if (it->key != key) continue;
    const std::int32_t len = CommonPrefix(it->items, prompt);
    if (len <= best.len) continue;
    best = {it->seq, len};
    found = it;
  }
  if (found != parked_.end()) std::rotate(found, found + 1, parked_.end());
  return best;
}

}  // namespace edgereason
