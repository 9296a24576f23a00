#include "policy/scores.h"

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"

namespace edgereason {
namespace {

bool Near(float a, double b) { return std::abs(static_cast<double>(a) - b) < 1e-5; }

}  // namespace

TEST(TheTokenComesFirstThenTheLikeliest) {
  const std::vector<float> logits{0, 3, 1, 3, 2};
  std::vector<TokenScore> scores;
  CHECK(AppendScores(logits, 2, 3, &scores));
  CHECK_EQ(scores.size(), 4);
  double mass = 0;
  for (const float logit : logits) mass += std::exp(static_cast<double>(logit));
  CHECK_EQ(scores[0].token, 2);
  CHECK(Near(scores[0].logprob, 1 - std::log(mass)));
  CHECK_EQ(scores[1].token, 1);  // of two equals the lower id
  CHECK_EQ(scores[2].token, 3);
  CHECK_EQ(scores[3].token, 4);
  CHECK(Near(scores[3].logprob, 2 - std::log(mass)));
}

TEST(WithoutOthersTheTokenAloneIsScored) {
  std::vector<TokenScore> scores;
  CHECK(AppendScores(std::vector<float>{1, 1}, 1, 0, &scores));
  CHECK_EQ(scores.size(), 1);
  CHECK(Near(scores[0].logprob, -std::log(2.0)));
}

TEST(WhatIsNoLogitsIsToldAndNothingIsAppended) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const float bad : {std::nanf(""), kInf}) {
    std::vector<TokenScore> scores;
    CHECK(!AppendScores(std::vector<float>{0, bad, 1}, 0, 1, &scores));
    CHECK(scores.empty());
  }
  std::vector<TokenScore> scores;
  CHECK(!AppendScores(std::vector<float>{-kInf, -kInf}, 0, 1, &scores));
  CHECK(AppendScores(std::vector<float>{0, -kInf}, 1, 1, &scores));
  CHECK_EQ(scores[0].logprob, -kInf);
}

}  // namespace edgereason
