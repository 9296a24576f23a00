#include "context/cells.h"

#include <numeric>

namespace edgereason {

CellLedger::CellLedger(std::int32_t num_cells, std::int32_t max_seqs)
    : num_holders_(static_cast<std::size_t>(num_cells), 0),
      free_(static_cast<std::size_t>(num_cells)),
      held_(static_cast<std::size_t>(max_seqs)),
      num_left_(static_cast<std::size_t>(num_cells)) {
  std::iota(free_.rbegin(), free_.rend(), 0);
  // Reserved here so that no step allocates.
  for (auto& held : held_) held.reserve(static_cast<std::size_t>(num_cells));
}

void CellLedger::Append(SeqId seq, std::int32_t num) noexcept {
  auto& held = held_[static_cast<std::size_t>(seq)];
  for (std::int32_t i = 0; i < num; ++i) {
    const Cell cell = free_.back();
    free_.pop_back();
    num_holders_[static_cast<std::size_t>(cell)] = 1;
    held.push_back(cell);
  }
}

void CellLedger::Share(SeqId from, SeqId to, std::int32_t len) noexcept {
  const auto& source = held_[static_cast<std::size_t>(from)];
  auto& target = held_[static_cast<std::size_t>(to)];
  for (std::size_t i = 0; i < static_cast<std::size_t>(len); ++i) {
    ++num_holders_[static_cast<std::size_t>(source[i])];
    target.push_back(source[i]);
  }
}

void CellLedger::Trim(SeqId seq, std::int32_t len) noexcept {
  auto& held = held_[static_cast<std::size_t>(seq)];
  while (held.size() > static_cast<std::size_t>(len)) {
    const Cell cell = held.back();
    held.pop_back();
    if (--num_holders_[static_cast<std::size_t>(cell)] == 0) free_.push_back(cell);
  }
}

void CellLedger::CountFreed(std::span<const SeqId> seqs, std::span<std::int32_t> freed) noexcept {
  num_left_ = num_holders_;
  std::int32_t sum = 0;
  for (std::size_t i = 0; i < seqs.size(); ++i) {
    for (const Cell cell : held_[static_cast<std::size_t>(seqs[i])]) {
      if (--num_left_[static_cast<std::size_t>(cell)] == 0) ++sum;
    }
    freed[i] = sum;
  }
}

}  // namespace edgereason
