// One row of logits to one token. See Sampling in records.py for the order of the steps.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "edgereason/phase.h"

namespace edgereason {

struct Sampled {
  Token token = kNoToken;
  float logprob = 0;  // of the token under softmax of the raw logits
  float margin = 0;   // p(best) - p(second) of the raw logits
  float entropy = 0;  // of the raw logits, nats
};

// Uniform in [0, 1) from a counter: draw `index` of stream `seed`. The same everywhere, in any order.
double CounterUniform(std::uint64_t seed, std::uint64_t index) noexcept;

// Holds the scratch space, so that sampling allocates nothing. One per scheduler.
class Sampler {
 public:
  explicit Sampler(std::int32_t num_vocab);

  // logits: [num_vocab], finite or -inf. recent: the tokens that penalties look at, oldest first (the window is applied
  // here). draw: how many tokens this request has sampled before. `lift`: a token whose logit is lifted by the share
  // `lift_share` of its distance to the best logit plus a little (the soft budget); kNoToken: none. Ties go to the
  // lower id.
  Sampled Sample(std::span<const float> logits, const Sampling& sampling, std::span<const Token> recent,
                 std::uint64_t draw, Token lift = kNoToken, float lift_share = 0) noexcept;

 private:
  struct Candidate {
    float logit;
    Token token;
  };
  std::vector<float> adjusted_;        // [num_vocab]
  std::vector<Candidate> candidates_;  // [num_vocab]
  std::vector<std::uint32_t> seen_;    // [num_vocab], generation at which a token was last seen
  std::uint32_t generation_ = 0;
};

}  // namespace edgereason
