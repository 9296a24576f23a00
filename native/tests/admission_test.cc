#include "policy/admission.h"

#include <algorithm>
#include <bit>
#include <random>
#include <vector>

#include "check.h"

namespace edgereason {
namespace {

// Each row takes a millisecond, alone or together with others.
CostModel Linear() {
  CostModel cost;
  for (int round = 0; round < 3; ++round) {
    for (const std::int32_t rows : {1, 2, 4, 8, 16, 32, 64}) cost.Observe(rows, 0, rows);
  }
  return cost;
}

std::vector<std::int32_t> Find(const std::vector<PlanSeq>& seqs, const CostModel& cost,
                               double now_ms = 0) {
  Refusals refusals;
  const std::vector<std::uint8_t> may(seqs.size(), 1);
  const auto found = refusals.Find(seqs, may, cost, now_ms);
  std::vector<std::int32_t> sorted(found.begin(), found.end());
  std::ranges::sort(sorted);
  return sorted;
}

// The slow twin: the most that can be in time, of all choices there are. By deadline.
int MostInTime(const std::vector<PlanSeq>& seqs) {
  int most = 0;
  for (std::uint32_t choice = 0; choice < 1U << seqs.size(); ++choice) {
    double ms = 0;
    bool fits = true;
    for (std::size_t i = 0; i < seqs.size(); ++i) {
      if ((choice >> i & 1) == 0) continue;
      ms += seqs[i].pending + seqs[i].owed_rows + seqs[i].owed_steps;
      fits = fits && ms <= seqs[i].deadline_ms;
    }
    if (fits) most = std::max(most, std::popcount(choice));
  }
  return most;
}

}  // namespace

TEST(AsManyAsPossibleAreInTime) {
  const CostModel cost = Linear();
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::vector<PlanSeq> seqs(1 + random() % 10);
    for (PlanSeq& seq : seqs) {
      seq.pending = static_cast<std::int32_t>(1 + random() % 40);
      seq.owed_rows = static_cast<std::int32_t>(random() % 3);
      seq.owed_steps = static_cast<std::int32_t>(random() % 20);
      seq.deadline_ms = static_cast<double>(1 + random() % 150);
    }
    std::ranges::sort(seqs, {}, &PlanSeq::deadline_ms);
    const auto num_kept = std::ssize(seqs) - std::ssize(Find(seqs, cost));
    CHECK_EQ(num_kept, MostInTime(seqs));
  }
}

TEST(HigherPrioritiesChooseFirst) {
  const CostModel cost = Linear();
  // The first alone takes all the time; three short ones would fit instead.
  std::vector<PlanSeq> seqs(4, {.deadline_ms = 90, .pending = 20});
  seqs[2] = {.priority = 1, .deadline_ms = 90, .pending = 85};
  CHECK_EQ(Find(seqs, cost), (std::vector<std::int32_t>{0, 1, 3}));
  seqs[2].priority = 0;
  CHECK_EQ(Find(seqs, cost), (std::vector<std::int32_t>{2}));
  // Where it has no chance itself it takes nothing from others.
  seqs[2] = {.priority = 1, .deadline_ms = 90, .pending = 95};
  CHECK_EQ(Find(seqs, cost), (std::vector<std::int32_t>{2}));
}

TEST(WhatHasBegunIsNotRefused) {
  const CostModel cost = Linear();
  const std::vector<PlanSeq> seqs = {{.deadline_ms = 10, .pending = 50},  // it cannot be in time
                                     {.deadline_ms = 80, .pending = 30},
                                     {.deadline_ms = 80, .pending = 25}};
  Refusals refusals;
  const std::vector<std::uint8_t> may = {0, 1, 1};
  const auto found = refusals.Find(seqs, may, cost, 0);
  CHECK_EQ(found.size(), 1);
  CHECK_EQ(found.front(), 1);  // the longer one
}

TEST(NobodyIsRefusedWhereThereIsTime) {
  const CostModel cost = Linear();
  CHECK(Find({}, cost).empty());
  const std::vector<PlanSeq> seqs(10, {.deadline_ms = 300, .pending = 20, .owed_steps = 10});
  CHECK(Find(seqs, cost).empty());
  CHECK_EQ(Find(seqs, cost, 150).size(), 5);
}

}  // namespace edgereason
