#include "policy/sampler.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>
#include <random>
#include <vector>

#include "check.h"

namespace {

std::int64_t num_allocations = 0;

}  // namespace

// Counts what the standard library would do silently. Inlined, the compiler would take `new` and
// `free` for a mismatch.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++num_allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}

namespace edgereason {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<ContextItem> Items(const std::vector<Token>& tokens) {
  std::vector<ContextItem> items;
  for (const Token token : tokens) items.push_back(ContextItem::OfToken(token));
  return items;
}

Sampled Draw(const std::vector<float>& logits, const Sampling& sampling = {},
             const std::vector<Token>& recent = {}, std::uint64_t draw = 0, Token lift = kNoToken,
             float lift_share = 0) {
  Sampler sampler(static_cast<std::int32_t>(logits.size()));
  return sampler.Sample(logits, sampling, Items(recent), draw, lift, lift_share);
}

// How often each token comes in many draws, as shares.
std::vector<double> Shares(const std::vector<float>& logits, const Sampling& sampling) {
  constexpr int kDraws = 20000;
  Sampler sampler(static_cast<std::int32_t>(logits.size()));
  std::vector<double> shares(logits.size(), 0.0);
  for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
    const Token token = sampler.Sample(logits, sampling, {}, draw).token;
    shares[static_cast<std::size_t>(token)] += 1.0 / kDraws;
  }
  return shares;
}

std::vector<float> Noise(std::size_t size, float spread) {
  std::mt19937 random(3);
  std::normal_distribution<float> noise(0.0F, spread);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = noise(random);
  return logits;
}

TEST(GreedyTakesTheBestAndOfEqualsTheFirst) {
  CHECK_EQ(Draw({1, 3, 2}).token, 1);
  CHECK_EQ(Draw({1, 3, 2, 3}).token, 1);
  std::vector<float> many(1000, -1.0F);
  many[777] = 0.0F;
  many[999] = 0.0F;
  CHECK_EQ(Draw(many).token, 777);
}

TEST(StatisticsAreThoseOfTheRawLogits) {
  const std::vector<float> logits = {std::log(0.5F), std::log(0.3F), std::log(0.2F)};
  const double entropy = -(0.5 * std::log(0.5) + 0.3 * std::log(0.3) + 0.2 * std::log(0.2));
  const Sampling banned{.logit_bias = {{0, -kInf}}};
  for (const Sampling& sampling : {Sampling{}, banned}) {
    const Sampled drawn = Draw(logits, sampling);
    CHECK_NEAR(drawn.logprob, std::log(drawn.token == 0 ? 0.5 : 0.3), 1e-6);
    CHECK_NEAR(drawn.margin, 0.2, 1e-6);
    CHECK_NEAR(drawn.entropy, entropy, 1e-6);
  }
}

TEST(StatisticsOfALargeVocabularyAreExact) {
  const std::vector<float> logits = Noise(49153, 4.0F);
  double mass = 0;
  for (const float logit : logits) mass += std::exp(static_cast<double>(logit));
  double entropy = 0;
  for (const float logit : logits) {
    const double p = std::exp(static_cast<double>(logit)) / mass;
    entropy -= p * std::log(p);
  }
  const Sampled drawn = Draw(logits);
  const auto best = static_cast<double>(logits[static_cast<std::size_t>(drawn.token)]);
  CHECK_NEAR(drawn.logprob, best - std::log(mass), 2e-6);
  CHECK_NEAR(drawn.entropy, entropy, 2e-5);
}

TEST(MinusInfinityIsNeverDrawn) {
  std::vector<float> logits(40, -kInf);
  logits[5] = -200.0F;
  logits[30] = 1.0F;
  const Sampling hot{.temperature = 1e30F};
  const std::vector<double> shares = Shares(logits, hot);
  CHECK_NEAR(shares[5] + shares[30], 1.0, 1e-9);
  CHECK_NEAR(shares[5], 0.5, 0.02);
  const Sampled drawn = Draw(logits);
  CHECK_EQ(drawn.token, 30);
  CHECK_NEAR(drawn.entropy, 0.0, 1e-6);
  CHECK_NEAR(drawn.margin, 1.0, 1e-6);
}

TEST(WhatIsNoLogitsDrawsNothing) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float temperature : {0.0F, 1.0F}) {
    const Sampling sampling{.temperature = temperature};
    CHECK_EQ(Draw(std::vector<float>(8, -kInf), sampling).token, kNoToken);
    for (const std::size_t size : {40U, 49153U}) {
      for (const std::size_t at : {std::size_t{0}, std::size_t{21}, size - 1}) {
        for (const float broken : {nan, -nan, kInf}) {
          std::vector<float> logits(size, 1);
          logits[at] = broken;
          CHECK_EQ(Draw(logits, sampling).token, kNoToken);
        }
      }
    }
  }
}

TEST(WhereEverythingIsBannedTokenZeroComes) {
  const Sampling banned{.temperature = 1, .logit_bias = {{0, -kInf}, {1, -kInf}}};
  CHECK_EQ(Draw({2, 1}, banned).token, 0);
}

TEST(PenaltiesLookAtTheWindow) {
  const std::vector<float> logits = {4, 3, 2, -1};
  const Sampling halved{.repetition_penalty = 2};
  CHECK_EQ(Draw(logits, halved, {0}).token, 1);
  CHECK_EQ(Draw(logits, halved, {0, 0, 0, 1}).token, 0);  // 2 and 1.5 against 2: the first
  Sampling narrow = halved;
  narrow.penalty_window = 1;
  CHECK_EQ(Draw(logits, narrow, {0, 3}).token, 0);
  narrow.penalty_window = 0;
  CHECK_EQ(Draw(logits, narrow, {0}).token, 0);
  CHECK_EQ(Draw({-1, -1.5F}, halved, {0}).token, 1);  // negative logits are multiplied
}

TEST(PresenceIsSubtractedOnce) {
  const Sampling presence{.presence_penalty = 1};
  CHECK_EQ(Draw({3, 1.5F}, presence, {0, 0, 0}).token, 0);
  CHECK_EQ(Draw({3, 2.5F}, presence, {0}).token, 1);
}

TEST(BiasIsAdded) {
  CHECK_EQ(Draw({3, 1}, {.logit_bias = {{1, 2.5F}}}).token, 1);
  CHECK_EQ(Draw({3, 1}, {.logit_bias = {{0, -kInf}}}).token, 1);
}

TEST(TheLiftEndsAboveTheBest) {
  const std::vector<float> logits = {5, 1, 0};
  CHECK_EQ(Draw(logits, {}, {}, 0, 2, 1.0F).token, 2);
  CHECK_EQ(Draw(logits, {}, {}, 0, 2, 0.5F).token, 0);
  CHECK_EQ(Draw(logits, {}, {}, 0, 0, 0.5F).token, 0);
  CHECK_EQ(Draw({-kInf, 1}, {}, {}, 0, 0, 1.0F).token, 1);  // and a banned one stays banned
}

TEST(TheTemperatureIsThatOfSoftmax) {
  const std::vector<double> shares = Shares({0, -1}, {.temperature = 0.5F});
  CHECK_NEAR(shares[0], 1 / (1 + std::exp(-2.0)), 0.01);
}

TEST(ALowTemperatureIsGreedy) {
  const std::vector<float> logits = Noise(500, 3.0F);
  for (const float temperature : {1e-3F, 1e-30F, 1e-45F}) {
    CHECK_EQ(Draw(logits, {.temperature = temperature}).token, Draw(logits).token);
  }
}

TEST(TopKKeepsTheBest) {
  const std::vector<double> shares = Shares({1, 2, 2, 2, 0}, {.temperature = 1, .top_k = 2});
  CHECK_NEAR(shares[1], 0.5, 0.02);
  CHECK_NEAR(shares[2], 0.5, 0.02);
  CHECK_EQ(Draw({1, 2}, {.temperature = 5, .top_k = 1}).token, 1);
  // More than there are is no limit.
  CHECK_NEAR(Shares({1, 1}, {.temperature = 1, .top_k = 9})[1], 0.5, 0.02);
}

TEST(TopPKeepsTheShortestPrefixThatHoldsIt) {
  const std::vector<float> logits = {std::log(0.5F), std::log(0.3F), std::log(0.2F)};
  CHECK_NEAR(Shares(logits, {.temperature = 1, .top_p = 0.49F})[0], 1.0, 1e-9);
  const std::vector<double> shares = Shares(logits, {.temperature = 1, .top_p = 0.51F});
  CHECK_NEAR(shares[0], 0.5 / 0.8, 0.02);
  CHECK_NEAR(shares[2], 0.0, 0);
}

TEST(MinPComparesWithTheBest) {
  const std::vector<float> logits = {std::log(0.5F), std::log(0.3F), std::log(0.2F)};
  const std::vector<double> shares = Shares(logits, {.temperature = 1, .min_p = 0.5F});
  CHECK_NEAR(shares[0], 0.5 / 0.8, 0.02);
  CHECK_NEAR(shares[2], 0.0, 0);
}

TEST(AFlatVocabularyIsDrawnEvenly) {
  const std::size_t size = 5000;
  const std::vector<double> shares = Shares(std::vector<float>(size, 1.0F), {.temperature = 1});
  double lower_half = 0;
  for (std::size_t i = 0; i < size / 2; ++i) lower_half += shares[i];
  CHECK_NEAR(lower_half, 0.5, 0.02);
}

TEST(ADrawAllocatesNothing) {
  const std::vector<float> flat = Noise(3000, 0.1F);
  const auto recent = Items({1, 2, 3});
  const Sampling sampling{.temperature = 1,
                          .top_k = 2000,
                          .top_p = 0.9F,
                          .min_p = 0.01F,
                          .repetition_penalty = 1.1F,
                          .logit_bias = {{5, 1.0F}}};
  Sampler sampler(3000);
  const std::int64_t before = num_allocations;
  for (std::uint64_t draw = 0; draw < 10; ++draw) {
    sampler.Sample(flat, sampling, recent, draw, 7, 0.5F);
    sampler.Sample(flat, {.temperature = 2}, recent, draw);
  }
  CHECK_EQ(num_allocations - before, 0);
}

TEST(ADrawDependsOnSeedAndIndexAlone) {
  const std::vector<float> logits = Noise(3000, 1.0F);
  const Sampling sampling{.temperature = 1, .seed = 5};
  Sampler sampler(3000);
  std::vector<Token> forwards;
  for (std::uint64_t draw = 0; draw < 20; ++draw) {
    forwards.push_back(sampler.Sample(logits, sampling, {}, draw).token);
  }
  for (std::uint64_t draw = 20; draw-- > 0;) {
    sampler.Sample(Noise(3000, 2.0F), {.temperature = 1, .seed = draw}, {}, 1);
    CHECK_EQ(sampler.Sample(logits, sampling, {}, draw).token, forwards[draw]);
  }
}

TEST(TheCounterIsUniformAndKnown) {
  constexpr int kDraws = 100000;
  for (const std::uint64_t seed : {0ULL, 1ULL, ~0ULL}) {
    double sum = 0;
    std::array<int, 10> tenths{};
    for (std::uint64_t index = 0; index < kDraws; ++index) {
      const double value = CounterUniform(seed, index);
      CHECK(value >= 0 && value < 1);
      sum += value;
      ++tenths[static_cast<std::size_t>(value * 10)];
    }
    CHECK_NEAR(sum / kDraws, 0.5, 0.004);
    for (const int num : tenths) CHECK_NEAR(num, kDraws / 10, 500);
  }
  CHECK(CounterUniform(0, 1) != CounterUniform(1, 0));
}

}  // namespace
TEST(AnInfiniteLogitIsDrawn) {
  const std::vector<float> logits = {1, 2, 3, 4};
  Sampler sampler(4);
  for (const float bias : {3e38F, std::numeric_limits<float>::infinity()}) {
    for (const float min_p : {0.0F, 0.5F}) {
      for (const std::int32_t top_k : {0, 2}) {
        const Sampling sampling{.temperature = 1,
                                .top_k = top_k,
                                .top_p = 0.9F,
                                .min_p = min_p,
                                .logit_bias = {{.token = 1, .bias = bias}},
                                .seed = 5};
        CHECK_EQ(sampler.Sample(logits, sampling, {}, 0).token, 1);
      }
    }
  }
}

TEST(BannedTokensAreNotDrawn) {
  const std::vector<float> logits = {1, 9, 8, 2};
  const std::vector<std::uint8_t> banned = {0, 1, 0, 0};
  Sampler sampler(4);
  CHECK_EQ(sampler.Sample(logits, {}, {}, 0).token, 1);
  CHECK_EQ(sampler.Sample(logits, {}, {}, 0, kNoToken, 0, banned).token, 2);
  for (std::uint64_t draw = 0; draw < 200; ++draw) {
    const Sampling warm{.temperature = 5, .seed = 3};
    CHECK(sampler.Sample(logits, warm, {}, draw, kNoToken, 0, banned).token != 1);
  }
  // What is told of the token is as ever: of the raw logits.
  CHECK_NEAR(sampler.Sample(logits, {}, {}, 0, kNoToken, 0, banned).logprob, -1.313, 0.01);
}

TEST(AMaskAllowsWhatItsBitsSay) {
  std::vector<float> logits(70);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i);
  const std::vector<std::uint32_t> allowed = {1U << 3, 1U << 1, 0};  // tokens 3 and 33
  Sampler sampler(70);
  CHECK_EQ(sampler.Sample(logits, {}, {}, 0, kNoToken, 0, {}, allowed).token, 33);
  const Sampling warm{.temperature = 50, .seed = 3};
  std::array<int, 70> drawn{};
  for (std::uint64_t draw = 0; draw < 200; ++draw) {
    ++drawn[static_cast<std::size_t>(
        sampler.Sample(logits, warm, {}, draw, kNoToken, 0, {}, allowed).token)];
  }
  CHECK(drawn[3] > 20 && drawn[33] > 20);
  CHECK_EQ(drawn[3] + drawn[33], 200);
}

TEST(AMaskWinsOverBansAndBiases) {
  const std::vector<float> logits = {1, 9, 8, 2};
  const std::vector<std::uint32_t> allowed = {0b1001};
  Sampler sampler(4);
  CHECK_EQ(sampler.Sample(logits, {.logit_bias = {{3, -5}}}, {}, 0, kNoToken, 0, {}, allowed).token,
           0);
  const Sampling forbids{.logit_bias = {{0, -kInf}, {3, -kInf}}};
  CHECK_EQ(sampler.Sample(logits, forbids, {}, 0, kNoToken, 0, {}, allowed).token, 3);
  const std::vector<std::uint8_t> banned = {1, 0, 0, 1};
  CHECK_EQ(sampler.Sample(logits, {}, {}, 0, kNoToken, 0, banned, allowed).token, 3);
  const std::vector<std::uint32_t> none = {0};
  CHECK_EQ(sampler.Sample(logits, {}, {}, 0, kNoToken, 0, {}, none).token, kNoToken);
}

}  // namespace edgereason
