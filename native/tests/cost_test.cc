#include "policy/cost.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "check.h"

namespace edgereason {
namespace {

// The time of a step on a small CPU: 6 ms for one row, ten times that for 64.
double TrueMs(std::int32_t rows, std::int64_t cells = 0, double cell_ms = 0) {
  return 6.0 * std::pow(rows, 0.55) + cell_ms * static_cast<double>(cells);
}

void Feed(CostModel* cost, int num, std::int32_t rows, double ms) {
  for (int i = 0; i < num; ++i) cost->Observe(rows, 0, ms);
}

TEST(BeforeAnythingIsSeenRowsCostAlike) {
  const CostModel cost;
  CHECK(!cost.known());
  CHECK_NEAR(cost.StepMs(1), CostModel::kUnknownStepMs, 1e-9);
  CHECK_NEAR(cost.StepMs(8), 8 * CostModel::kUnknownStepMs, 1e-9);
}

TEST(OneStepIsBelieved) {
  CostModel cost;
  cost.Observe(1, 0, 6.0);
  CHECK(cost.known());
  CHECK_NEAR(cost.StepMs(1), 6.0, 1e-6);
  CHECK_NEAR(cost.StepMs(10), 60.0, 1e-6);  // beyond what was seen: in proportion
}

TEST(BelowTheFewestRowsSeenThereIsLittleToGain) {
  CostModel cost;
  cost.Observe(64, 0, 60.0);
  CHECK_NEAR(cost.StepMs(64), 60.0, 1e-6);
  CHECK_NEAR(cost.StepMs(1), 7.5, 1e-6);
  CHECK_NEAR(cost.StepMs(128), 120.0, 1e-6);
}

TEST(MoreRowsThanSeenAreNotTakenToBeCheap) {
  CostModel cost;
  for (int i = 0; i < 8; ++i) cost.Observe(40, 0, 160.0);
  CHECK_NEAR(cost.StepMs(40), 160.0, 20.0);
  CHECK(cost.StepMs(64) > 0.9 * 256);
}

TEST(ACurveOverRowsIsLearned) {
  CostModel cost;
  for (int round = 0; round < 10; ++round) {
    for (const std::int32_t rows : {1, 2, 5, 8, 16, 30, 64, 200}) {
      cost.Observe(rows, 0, TrueMs(rows));
    }
  }
  for (const std::int32_t rows : {1, 2, 3, 6, 8, 12, 24, 48, 64, 150}) {
    CHECK_NEAR(cost.StepMs(rows) / TrueMs(rows), 1.0, 0.15);
  }
}

TEST(PredictionsNeverFallWithRows) {
  std::mt19937 random(1);
  std::lognormal_distribution<double> noise(0.0, 0.5);
  CostModel cost;
  for (int i = 0; i < 2000; ++i) {
    const auto rows = static_cast<std::int32_t>(1 + random() % 1500);
    cost.Observe(rows, 0, TrueMs(rows) * noise(random));
    if (i % 50 != 0) continue;
    double before = 0;
    for (std::int32_t num = 1; num <= 1500; ++num) {
      const double ms = cost.StepMs(num);
      CHECK(ms >= before);
      before = ms;
    }
  }
}

TEST(AnOutlierIsForgottenInAFewSteps) {
  CostModel cost;
  Feed(&cost, 50, 1, 6.0);
  cost.Observe(1, 0, 120.0);
  CHECK(cost.StepMs(1) < 2.0 * 6.0);
  Feed(&cost, 4, 1, 6.0);
  CHECK_NEAR(cost.StepMs(1), 6.0, 1.0);
  CHECK_NEAR(cost.load(), 1.0, 0.15);
}

TEST(AFirstStepThatIsLateTeachesLittle) {
  CostModel cost;
  cost.Observe(1, 0, 300.0);
  Feed(&cost, 2, 1, 6.0);
  CHECK_NEAR(cost.StepMs(1), 6.0, 0.5);
  CHECK_NEAR(cost.load(), 1.0, 0.1);
}

TEST(ALastingSlowdownIsFollowedWithinFiveSteps) {
  for (const double factor : {1.5, 3.0}) {
    CostModel cost;
    Feed(&cost, 50, 1, 6.0);
    Feed(&cost, 50, 16, 30.0);
    Feed(&cost, 5, 1, 6.0 * factor);
    CHECK_NEAR(cost.StepMs(1) / (6.0 * factor), 1.0, 0.1);
    CHECK_NEAR(cost.StepMs(16) / (30.0 * factor), 1.0, 0.1);  // rows not seen under the load, too
    Feed(&cost, 7, 1, 6.0);
    CHECK_NEAR(cost.StepMs(1), 6.0, 0.5);
    CHECK_NEAR(cost.StepMs(16), 30.0, 3.0);
  }
}

TEST(AVeryHighLoadIsFollowedAtOnce) {
  CostModel cost;
  Feed(&cost, 50, 1, 6.0);
  Feed(&cost, 3, 1, 1000.0);
  CHECK_NEAR(cost.StepMs(1) / 1000.0, 1.0, 0.1);
  Feed(&cost, 15, 1, 6.0);
  CHECK_NEAR(cost.StepMs(1), 6.0, 1.0);
}

TEST(WhatLastsBecomesTheUsual) {
  CostModel cost;
  Feed(&cost, 50, 1, 6.0);
  Feed(&cost, 50, 16, 30.0);
  Feed(&cost, 2000, 1, 18.0);
  CHECK_NEAR(cost.load(), 1.0, 0.05);
  CHECK_NEAR(cost.StepMs(1), 18.0, 0.5);
  CHECK_NEAR(cost.StepMs(16), 90.0, 9.0);
}

TEST(NoiseIsAveraged) {
  std::mt19937 random(2);
  std::normal_distribution<double> noise(1.0, 0.1);
  CostModel cost;
  double sum = 0;
  for (int i = 0; i < 500; ++i) {
    cost.Observe(1, 0, 6.0 * noise(random));
    if (i < 100) continue;
    CHECK_NEAR(cost.StepMs(1), 6.0, 1.5);
    sum += cost.StepMs(1) / 400;
  }
  CHECK_NEAR(sum, 6.0, 0.2);
}

TEST(ALongerContextCostsMore) {
  constexpr double kCellMs = 0.0008;
  std::mt19937 random(4);
  std::normal_distribution<double> noise(1.0, 0.02);
  CostModel cost;
  for (int request = 0; request < 5; ++request) {
    for (std::int64_t cells = 50; cells < 1500; ++cells) {
      cost.Observe(1, cells, TrueMs(1, cells, kCellMs) * noise(random));
    }
  }
  CHECK_NEAR(cost.cell_ms() / kCellMs, 1.0, 0.2);
  CHECK_NEAR(cost.StepMs(1, 1500), TrueMs(1, 1500, kCellMs), 0.3);
  CHECK_NEAR(cost.StepMs(1, 50), TrueMs(1, 50, kCellMs), 0.3);
  CHECK_NEAR(cost.StepMs(1), TrueMs(1, 1500, kCellMs), 0.3);  // as steps read lately
}

TEST(LoadThatComesAndGoesIsNoSlope) {
  std::mt19937 random(5);
  std::normal_distribution<double> noise(1.0, 0.03);
  CostModel cost;
  std::int64_t cells = 0;
  for (int step = 0; step < 5000; ++step) {
    const double load = step / 700 % 2 == 0 ? 1.0 : 3.0;
    cost.Observe(1, cells = (cells + 1) % 1100, 6.0 * load * noise(random));
  }
  CHECK_NEAR(cost.cell_ms() * 1000, 0.0, 0.6);
}

TEST(RowsWithinATimeAreThoseThatFit) {
  CostModel cost;
  for (int round = 0; round < 10; ++round) {
    for (std::int32_t rows = 1; rows <= 64; rows *= 2) cost.Observe(rows, 0, 4.0 + 2.0 * rows);
  }
  CHECK_EQ(cost.RowsWithin(14.1, 64), 5);
  CHECK_EQ(cost.RowsWithin(24.0, 3), 3);
  CHECK_EQ(cost.RowsWithin(0.0, 64), 1);
  CHECK_EQ(cost.RowsWithin(1e9, 64), 64);
}

TEST(StepsThatCostNothingAreLearnedToo) {
  CostModel cost;
  Feed(&cost, 10, 4, 0.0);
  CHECK_NEAR(cost.StepMs(4), 0.0, 1e-3);
  Feed(&cost, 60, 4, 8.0);
  CHECK_NEAR(cost.StepMs(4), 8.0, 0.5);
}

TEST(WhatIsNoTimeIsIgnored) {
  CostModel cost;
  cost.Observe(1, 0, std::numeric_limits<double>::quiet_NaN());
  cost.Observe(0, 0, 5.0);
  cost.Observe(1, -1, 5.0);
  CHECK(!cost.known());
}

TEST(WhatWasMeasuredBeforeIsBelievedUntilTheLoadIsAnother) {
  CostModel cost;
  cost.Observe(1, 0, 500.0);  // forgotten
  const std::vector<double> knot_ms = {6.0, 0, 12.0, 0, std::nan(""), -1};
  cost.Restore(knot_ms, 1e-3);
  CHECK(cost.known());
  CHECK_NEAR(cost.StepMs(1, 0), 6.0, 1e-9);
  CHECK_NEAR(cost.StepMs(2, 0), 8.0, 1e-9);  // between two that were measured
  CHECK_NEAR(cost.StepMs(4, 1000), 13.0, 1e-9);
  CHECK_NEAR(cost.StepMs(8, 0), 24.0, 1e-9);
  CHECK(cost.has_seen(4));
  CHECK(!cost.has_seen(8));
  for (int i = 0; i < 8; ++i) cost.Observe(1, 0, 12.0);
  CHECK_NEAR(cost.load(), 2.0, 0.2);
  CHECK_NEAR(cost.StepMs(4, 0), 24.0, 2.0);  // all of it takes twice as long now
}

TEST(NothingMeasuredIsNothingKnown) {
  CostModel cost;
  cost.Restore({}, 1.0);
  CHECK(!cost.known());
  CHECK_NEAR(cost.StepMs(1), CostModel::kUnknownStepMs, 1e-9);
}

}  // namespace
}  // namespace edgereason
