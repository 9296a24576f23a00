// Who holds which KV cells. A mirror of the engine's unified cache that the planner can ask before
// it decodes.
//
//   cells.Append(0, 5);      // sequence 0 took five cells
//   cells.Share(0, 1, 3);    // sequence 1 starts with the first three of them: nothing is copied
//   cells.Trim(0, 0);        // three are still held by sequence 1, two are free again
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "edgereason/engine.h"

namespace edgereason {

class CellLedger {
 public:
  CellLedger(std::int32_t num_cells, std::int32_t max_seqs);

  std::int32_t num_cells() const noexcept { return static_cast<std::int32_t>(num_holders_.size()); }
  std::int32_t num_free() const noexcept { return static_cast<std::int32_t>(free_.size()); }
  std::int32_t Length(SeqId seq) const noexcept {
    return static_cast<std::int32_t>(held_[static_cast<std::size_t>(seq)].size());
  }
  bool can_append(std::int32_t num) const noexcept { return num <= num_free(); }

  void Append(SeqId seq, std::int32_t num) noexcept;            // needs can_append(num)
  void Share(SeqId from, SeqId to, std::int32_t len) noexcept;  // `to` holds nothing yet
  void Trim(SeqId seq, std::int32_t len) noexcept;

  // How many cells would come free if `seqs` gave up all of theirs, after the first of them, the
  // first two, and so on: `freed` [seqs.size()]. Walks over all of their cells.
  void CountFreed(std::span<const SeqId> seqs, std::span<std::int32_t> freed) noexcept;

 private:
  using Cell = std::int32_t;
  std::vector<std::int32_t> num_holders_;  // [num_cells]
  std::vector<Cell> free_;
  std::vector<std::vector<Cell>> held_;  // [max_seqs], in order of position
  std::vector<std::int32_t> num_left_;   // [num_cells], scratch of CountFreed
};

}  // namespace edgereason
