// A look ahead: a fork of a thinking sequence that is asked for its answer now, greedily, beside
// the thinking.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "edgereason/engine.h"
#include "context/sequence.h"

namespace edgereason {

// Lives in the native thread from the fork to the last token.
struct ProbeRun {
  Sequence* owner = nullptr;
  SeqId slot = -1;
  std::int32_t base = 0;      // length of the KV that was forked
  std::vector<Token> tokens;  // what follows it: the owner's undecoded tokens, the cue, the answer
  std::vector<float> latent;  // what the first of them is fed where it is a latent step, [num_embd]
  std::int32_t num_decoded = 0;  // of tokens
  std::int32_t num_sampled = 0;
  std::string text;

  std::int32_t pending() const noexcept {
    return static_cast<std::int32_t>(tokens.size()) - num_decoded;
  }
  const float* Embedding(std::int32_t at) const noexcept {
    return at == 0 && !latent.empty() ? latent.data() : nullptr;
  }
  // Takes a sampled token. True: the probe is over (end of generation, end of the line, enough
  // tokens).
  bool Accept(Token token, const Vocab& vocab) noexcept;
};

// Compares what the probe says with the ones before. True: as many in a row as the rule asks for
// agree.
bool Agree(const ProbeRun& probe, Sequence* owner);

}  // namespace edgereason
