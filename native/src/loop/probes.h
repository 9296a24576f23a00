// Looks ahead: forks of thinking sequences that are asked for their answer now, greedily, beside
// the thinking.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "context/kv.h"
#include "context/sequence.h"

namespace edgereason {

// One probe, from the fork to its last token.
struct ProbeRun {
  Sequence* owner = nullptr;  // null: it is over
  SeqId seq = -1;
  std::int32_t base = 0;           // length of the KV that was forked
  std::vector<ContextItem> items;  // what follows: the owner's pending items, the cue, the answer
  std::vector<float> latent;       // what the first is fed where it is a latent step, [num_embd]
  std::int32_t num_decoded = 0;    // of items
  std::int32_t num_sampled = 0;
  double logprob = 0;  // of all that was sampled
  std::string text;

  std::int32_t pending() const noexcept {
    return static_cast<std::int32_t>(items.size()) - num_decoded;
  }
  const float* Embedding(std::int32_t at) const noexcept {
    return at == 0 && !latent.empty() ? latent.data() : nullptr;
  }
};

class Probes {
 public:
  explicit Probes(Kv* kv) : kv_(kv) {}

  // Starts one where the phase of `owner` asks for it now and has none. `num_embd`: of the engine.
  void MayStart(Sequence* owner, std::int32_t num_embd);
  // Takes a sampled token. True: the probe is over, and it is as sure as the rule asks for, or as
  // many in a row agree.
  bool Accept(ProbeRun* probe, const Sampled& sampled, const Vocab& vocab);
  // Ends the probe of `owner`. It stays in the list until the sweep: rows of this step may still
  // point to it.
  void Drop(const Sequence* owner) noexcept;
  bool DropNewest() noexcept;  // for its cells; false: there is none
  void Sweep() noexcept;       // removes those that are over

  std::span<const std::unique_ptr<ProbeRun>> all() const noexcept { return probes_; }

 private:
  void End(ProbeRun* probe) noexcept;

  Kv* kv_;
  std::vector<std::unique_ptr<ProbeRun>> probes_;
};

}  // namespace edgereason
