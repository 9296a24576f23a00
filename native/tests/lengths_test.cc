#include "policy/lengths.h"

#include <cmath>
#include <random>

#include "check.h"

namespace edgereason {

TEST(TheFirstAnswersHaveThePriorsLength) {
  const LengthModel lengths;
  CHECK_NEAR(lengths.Quantile(0.5), 32, 0.1);
  CHECK_NEAR(lengths.Quantile(0.9), 89, 1);
}

TEST(AFewAnswersOfOneLengthAreBelieved) {
  LengthModel lengths;
  for (int i = 0; i < 5; ++i) lengths.Observe(10, false);
  CHECK(lengths.Quantile(0.9) < 30);
  for (int i = 0; i < 25; ++i) lengths.Observe(10, false);
  CHECK(lengths.Quantile(0.9) < 18);
  CHECK(lengths.Quantile(0.9) >= 10);
}

TEST(QuantilesAreThoseOfWhatWasDrawn) {
  std::mt19937 random(5);
  std::lognormal_distribution<double> draw(std::log(40.0), 0.6);
  LengthModel lengths;
  int num_within = 0;
  constexpr int kNum = 3000;
  for (int i = 0; i < kNum; ++i) {
    const auto length = static_cast<std::int32_t>(std::ceil(draw(random)));
    num_within += length <= lengths.Quantile(0.9) ? 1 : 0;
    lengths.Observe(length, false);
  }
  CHECK_NEAR(num_within / double{kNum}, 0.9, 0.03);
}

TEST(WhatIsGivenIsExceeded) {
  LengthModel lengths;
  for (int i = 0; i < 30; ++i) lengths.Observe(10, false);
  double before = 0;
  for (const std::int32_t given : {0, 5, 10, 20, 100, 100000}) {
    const double length = lengths.Quantile(0.9, given);
    CHECK(length > given);
    CHECK(length >= before);
    before = length;
  }
}

// Answers of 60 that are cut at 20, or at what was kept free for them: taken as lengths, they would
// be cut ever earlier.
TEST(CutLengthsDoNotShrinkWhatIsKept) {
  LengthModel lengths;
  for (int i = 0; i < 10; ++i) lengths.Observe(20, false);
  for (int i = 0; i < 40; ++i) {
    const auto room = static_cast<std::int32_t>(lengths.Quantile(0.9));
    lengths.Observe(std::min(room, 60), room < 60);
  }
  CHECK(lengths.Quantile(0.9) >= 55);
}

TEST(LongerAnswersAreNoticed) {
  LengthModel lengths;
  for (int i = 0; i < 200; ++i) lengths.Observe(10, false);
  for (int i = 0; i < 12; ++i) lengths.Observe(80, false);
  CHECK(lengths.Quantile(0.9) >= 60);
}

TEST(WhatWasKeptIsGoneOnWith) {
  LengthModel first;
  for (int i = 0; i < 20; ++i) first.Observe(12, false);
  LengthModel second;
  second.Restore(first.state());
  CHECK_EQ(second.Quantile(0.9), first.Quantile(0.9));
  for (const LengthModel::State& damaged :
       {LengthModel::State{-1, 2, 1}, {5, NAN, 1}, {5, 2, INFINITY}, {5, 1000, 1}, {NAN, 2, 1}}) {
    second.Restore(damaged);
    CHECK_EQ(second.Quantile(0.9), first.Quantile(0.9));
  }
}

TEST(KindsHaveLengthsOfTheirOwn) {
  Lengths lengths;
  for (int i = 0; i < 20; ++i) lengths.Observe(1, 5, false);
  for (int i = 0; i < 20; ++i) lengths.Observe(2, 100, false);
  CHECK(lengths.Quantile(1, 0.9, 0) < 12);
  CHECK(lengths.Quantile(2, 0.9, 0) > 90);
  // Nothing is known of the third: it is one of all.
  CHECK(lengths.Quantile(3, 0.9, 0) > 90);
  CHECK(lengths.Quantile(3, 0.1, 0) < 20);
}

}  // namespace edgereason
