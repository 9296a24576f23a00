// The engine's sequences and their KV: the engine's cache and the planner's ledger, kept in step.
//
//   SeqId seq = kv.Acquire();            // an empty sequence of the engine
//   kv.Append(seq, 12);                  // twelve rows of it were decoded
//   kv.Park(seq, key, items);            // kept for prompts that start alike; or kv.Release(seq)
//   Kv::Match found = kv.FindKept(key, prompt);
//   kv.Fork(found.seq, other, found.len);
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "context/cells.h"
#include "context/context.h"
#include "edgereason/engine.h"

namespace edgereason {

class Kv {
 public:
  // What is parked holds at most `park_cells` in all.
  Kv(Engine* engine, std::int32_t park_cells);

  std::int32_t num_free() const noexcept { return cells_.num_free(); }
  // Cells that no prefix holds for good.
  std::int32_t num_unpinned() const noexcept { return cells_.num_cells() - pinned_cells_; }
  std::int32_t num_parked() const noexcept { return static_cast<std::int32_t>(parked_.size()); }
  std::int32_t num_pinned() const noexcept { return static_cast<std::int32_t>(pinned_.size()); }
  std::int32_t park_cells() const noexcept { return park_cells_; }

  SeqId Acquire() noexcept;  // an empty sequence, or -1
  void Release(SeqId seq) noexcept;
  void Append(SeqId seq, std::int32_t num) noexcept { cells_.Append(seq, num); }

  // False, and nothing changed, where the engine cannot fork.
  bool Fork(SeqId from, SeqId to, std::int32_t len) noexcept;
  // Cuts to `len`, or to 0 where the engine cannot cut there. Returns the new length.
  std::int32_t Trim(SeqId seq, std::int32_t len) noexcept;

  // See CellLedger::CountFreed.
  void CountFreed(std::span<const SeqId> seqs, std::span<std::int32_t> freed) noexcept {
    cells_.CountFreed(seqs, freed);
  }

  // Keeps the KV of `seq`, which holds `items`, for prompts that start alike; `seq` is taken over.
  void Park(SeqId seq, ContextKey key, std::span<const ContextItem> items);
  // Lets go what is parked and was not used for longest. False: nothing is parked.
  bool EvictOne() noexcept;
  SeqId parked(std::int32_t i) const noexcept {  // in the order in which EvictOne lets go
    return parked_[static_cast<std::size_t>(i)].seq;
  }

  // What is parked of tokens alone, the longest unused first.
  std::vector<KeptTokens> KeptOfTokens() const;
  // The KV of what is parked of just these tokens; empty: that is there no more.
  std::vector<std::uint8_t> Save(const KeptTokens& kept) const;

  // Keeps the KV of a prefix as long as this lives. Its rows came from outside and depend on no
  // weights, so it serves contexts of every key.
  void Pin(SeqId seq, PrefixRef prefix);

  struct Match {
    SeqId seq = -1;
    std::int32_t len = 0;
  };
  // The longest beginning of `prompt` that is parked or pinned.
  Match FindKept(ContextKey key, std::span<const ContextItem> prompt) noexcept;

 private:
  struct Parked {
    SeqId seq;
    ContextKey key;
    std::vector<ContextItem> items;
  };
  struct Pinned {
    SeqId seq;
    std::vector<ContextItem> items;
  };

  Engine* engine_;
  CellLedger cells_;
  std::int32_t park_cells_;
  std::vector<SeqId> free_;
  std::vector<Parked> parked_;  // by last use, the newest last
  std::vector<Pinned> pinned_;
  std::int32_t pinned_cells_ = 0;
};

}  // namespace edgereason
