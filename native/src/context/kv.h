// Sequence slots, KV cells and parked prefixes: the engine's cache and the planner's ledger, kept
// in step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "context/cells.h"
#include "edgereason/engine.h"

namespace edgereason {

// How many of the first tokens of `a` and `b` are equal.
std::int32_t CommonPrefix(std::span<const Token> a, std::span<const Token> b) noexcept;

class Kv {
 public:
  // Prefixes are parked as long as they hold at most `park_cells` in all.
  Kv(Engine* engine, std::int32_t park_cells);

  std::int32_t num_free() const noexcept { return cells_.num_free(); }
  // Cells that no prefix holds for good.
  std::int32_t num_unpinned() const noexcept { return cells_.num_cells() - pinned_cells_; }
  std::int32_t num_parked() const noexcept { return static_cast<std::int32_t>(parked_.size()); }
  std::int64_t Length(SeqId slot) const noexcept { return cells_.Length(slot); }

  SeqId Acquire() noexcept;  // an empty slot, or -1
  void Release(SeqId slot) noexcept;
  void Append(SeqId slot, std::int32_t num) noexcept { cells_.Append(slot, num); }

  // False, and nothing changed, where the engine cannot fork.
  bool Fork(SeqId from, SeqId to, std::int32_t len) noexcept;
  // Cuts to `len`, or to 0 where the engine cannot cut there. Returns the new length.
  std::int32_t Trim(SeqId slot, std::int32_t len) noexcept;

  // Keeps the KV of `slot`, which holds `tokens`, for prompts that start alike; takes the slot
  // over.
  void Park(SeqId slot, std::span<const Token> tokens);
  bool
  EvictOne() noexcept;  // the parked prefix that was not used for longest; false: there is none

  struct Prefix {
    SeqId slot = -1;
    std::int32_t len = 0;
  };
  Prefix FindParked(std::span<const Token> prompt) noexcept;

  // Keeps the KV of `slot`, which holds `tokens`, as long as this lives.
  void Pin(SeqId slot, std::span<const Token> tokens);
  std::int32_t num_pinned() const noexcept { return static_cast<std::int32_t>(pinned_.size()); }

 private:
  struct Parked {
    SeqId slot;
    std::uint64_t last_used;
    std::vector<Token> tokens;
  };

  Engine* engine_;
  CellLedger cells_;
  std::int32_t park_cells_;
  std::vector<SeqId> free_slots_;
  std::vector<Parked> parked_;
  std::vector<Parked> pinned_;
  std::int32_t pinned_cells_ = 0;
  std::uint64_t uses_ = 0;
};

}  // namespace edgereason
