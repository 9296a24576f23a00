// One row of logits to one token. See Sampling in records.py for the order of the steps.
//
//   Sampler sampler(num_vocab);
//   Sampled best = sampler.Sample(engine.Logits(0), {}, recent, /*draw=*/0);  // greedy
//   text += vocab.Piece(best.token);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "edgereason/context_item.h"
#include "edgereason/phase.h"

namespace edgereason {

// A token of a blend. Weights of one blend sum to 1.
struct Weighted {
  Token token = kNoToken;
  float weight = 0;
};
inline constexpr std::int32_t kMostBlended = 64;  // tokens of one blend

struct Sampled {
  Token token = kNoToken;  // kNoToken: the logits are of no use
  float logprob = 0;       // of the token under softmax of the raw logits
  float margin = 0;        // p(best) - p(second) of the raw logits
  float entropy = 0;       // of the raw logits, nats
  // What the next row is fed instead of the token where it blends, the heaviest, which is `token`,
  // first. Valid until the next blend.
  std::span<const Weighted> blend{};
};

// Uniform in [0, 1) from a counter: draw `index` of stream `seed`. The same everywhere, in any
// order.
double CounterUniform(std::uint64_t seed, std::uint64_t index) noexcept;

// The natural log of the probability of each of `tokens` under softmax of the raw logits, onto
// the end of `scores`. False: the logits are of no use.
bool LogProbs(std::span<const float> logits, std::span<const Token> tokens,
              std::vector<double>* scores);

// Holds the scratch space, so that sampling allocates nothing. One per scheduler.
class Sampler {
 public:
  explicit Sampler(std::int32_t num_vocab);

  // logits: [num_vocab]. One that is -inf is never drawn. Nothing is drawn (kNoToken) where one is NaN
  // or +inf, or all are -inf: then the engine computed something else than logits.
  // recent: what penalties look at, oldest first. The window is applied here; what is no token is
  // skipped.
  // draw: how many tokens this request has sampled before.
  // lift: a token whose logit is lifted by the share `lift_share` of its distance to the best other
  // logit plus one (the soft budget), so that at share 1 it is the best; kNoToken: none.
  // banned: [num_vocab], 1 for tokens that are not drawn now; empty: none. Ties go to the lower id.
  // allowed: a mask, see grammar.h; empty: all are. It wins over all else: where penalties, biases and
  // bans leave nothing of it, they are left out.
  Sampled Sample(std::span<const float> logits, const Sampling& sampling,
                 std::span<const ContextItem> recent, std::uint64_t draw, Token lift = kNoToken,
                 float lift_share = 0, std::span<const std::uint8_t> banned = {},
                 std::span<const std::uint32_t> allowed = {}) noexcept;

  // A blend of the likeliest tokens, for the same arguments: penalties, bias and lift, temperature,
  // then the first `blend.top`, top_k, top_p and min_p, then Gumbel noise. One token where the
  // temperature is 0. The logits must be of use.
  std::span<const Weighted> Weigh(std::span<const float> logits, const Sampling& sampling,
                                  const Blend& blend, std::span<const ContextItem> recent,
                                  std::uint64_t draw, Token lift = kNoToken, float lift_share = 0,
                                  std::span<const std::uint8_t> banned = {}) noexcept;

 private:
  struct Candidate {
    float logit;
    float weight;  // exp((logit - best) / temperature), in (0, 1]
    Token token;
  };
  struct Prefix {
    std::size_t size = 0;
    double mass = 0;  // sum of the weights in it
  };

  // The logits after penalties, bias and lift: `logits` itself where none of them is on.
  std::span<const float> Adjust(std::span<const float> logits, const Sampling& sampling,
                                std::span<const ContextItem> recent, Token lift, float lift_share,
                                std::span<const std::uint8_t> banned,
                                std::span<const std::uint32_t> allowed) noexcept;
  bool Restrict(std::span<const std::uint32_t> allowed) noexcept;
  Token Draw(std::span<const float> logits, const Sampling& sampling, double uniform) noexcept;
  double Collect(std::span<const float> logits, float best, float scale, float reach) noexcept;
  std::vector<Candidate>::iterator At(std::size_t i) noexcept;
  double Mass(std::size_t begin, std::size_t end) const noexcept;
  Prefix ShortestPrefix(std::size_t size, double mass) noexcept;
  static bool Before(const Candidate& a, const Candidate& b) noexcept;
  void AddNoise(const Sampling& sampling, float noise, std::uint64_t draw) noexcept;

  std::vector<float> adjusted_;        // [num_vocab]
  std::vector<Candidate> candidates_;  // [num_vocab] at most, the space is kept
  std::vector<Weighted> blend_;        // [kMostBlended] at most
  std::vector<std::uint32_t> seen_;    // [num_vocab], generation at which a token was last seen
  std::uint32_t generation_ = 0;
};

}  // namespace edgereason
