#include "context/cells.h"

#include "check.h"

namespace edgereason {

TEST(SharedCellsAreFreeWhenTheLastHolderLetsGo) {
  CellLedger cells(8, 3);
  cells.Append(0, 5);
  cells.Share(0, 1, 3);
  CHECK_EQ(cells.num_free(), 3);
  cells.Trim(0, 0);
  CHECK_EQ(cells.num_free(), 5);
  cells.Share(1, 2, 2);
  cells.Trim(1, 0);
  CHECK_EQ(cells.num_free(), 6);
  cells.Trim(2, 1);
  CHECK_EQ(cells.num_free(), 7);
}

TEST(AppendedCellsAreTheSequencesOwn) {
  CellLedger cells(4, 2);
  cells.Append(0, 2);
  cells.Share(0, 1, 2);
  cells.Append(1, 2);
  CHECK(!cells.can_append(1));
  cells.Trim(0, 0);
  CHECK_EQ(cells.num_free(), 0);
  cells.Trim(1, 2);
  CHECK_EQ(cells.num_free(), 2);
  CHECK_EQ(cells.Length(1), 2);
}

TEST(TrimToMoreThanThereIsDoesNothing) {
  CellLedger cells(4, 1);
  cells.Append(0, 2);
  cells.Trim(0, 3);
  CHECK_EQ(cells.Length(0), 2);
}

TEST(CountsWhatWouldComeFree) {
  CellLedger cells(10, 4);
  cells.Append(0, 4);
  cells.Share(0, 1, 3);
  cells.Append(1, 2);
  std::vector<std::int32_t> freed(2);
  const std::vector<SeqId> seqs{0, 1};
  cells.CountFreed(seqs, freed);
  CHECK_EQ(freed, (std::vector<std::int32_t>{1, 6}));  // three are shared by both
  CHECK_EQ(cells.num_free(), 4);                       // nothing was given up
}

}  // namespace edgereason
