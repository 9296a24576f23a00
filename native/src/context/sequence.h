// One request inside the core: its context, its chain of phases, and what each sampled token means
// for them.
//
// Knows no engine and no other request. The scheduler asks what must be decoded (pending), hands in
// what was sampled (Accept), and is told when a phase has ended. Nothing here allocates per token.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "policy/budget.h"
#include "edgereason/event.h"
#include "policy/loop.h"
#include "policy/marker.h"
#include "edgereason/phase.h"
#include "policy/plan.h"
#include "policy/sampler.h"

namespace edgereason {

inline constexpr double kNever = std::numeric_limits<double>::infinity();

struct SequenceOptions {
  std::int32_t priority = 0;
  double arrival_ms = 0;                   // on the scheduler's clock
  double deadline_ms = kNever;             // on the scheduler's clock
  std::int32_t think_budget = kUnlimited;  // over all phases
  bool stream = false;
};

class Sequence {
 public:
  Sequence(RequestId id, const SequenceOptions& options, const Vocab* vocab,
           std::int32_t num_cells);

  RequestId id() const noexcept { return id_; }
  const SequenceOptions& options() const noexcept { return options_; }

  // -- the context
  // ---------------------------------------------------------------------------------------------------
  SeqId slot = -1;               // -1: not admitted
  std::int32_t num_decoded = 0;  // of tokens(): those whose KV exists
  std::span<const Token> tokens() const noexcept { return tokens_; }
  std::int32_t pending() const noexcept {
    return static_cast<std::int32_t>(tokens_.size()) - num_decoded;
  }

  // Slots of a prefix that its tokens begin with.
  std::int32_t num_slots() const noexcept;
  // What is fed at place `at`, where kLatentToken stands; null where a token does. [num_embd],
  // valid until the next latent step.
  const float* Embedding(std::int32_t at) const noexcept;

  // -- phases
  // --------------------------------------------------------------------------------------------------------
  void Enqueue(std::vector<Phase> chain, double now_ms);
  void ClearChain() noexcept { chain_.clear(); }
  bool running() const noexcept { return phase_.has_value(); }
  bool has_next() const noexcept { return !chain_.empty(); }
  const Phase& phase() const noexcept { return *phase_; }

  // Starts the next phase. Returns how many tokens of the KV stay valid: the caller trims it to
  // that.
  std::int32_t Begin();
  // A last answer phase of budget 0 only fills the KV: it ends when its tokens are decoded.
  bool prefill_only() const noexcept {
    return phase_->budget == 0 && chain_.empty() && phase_->channel == Channel::kAnswer;
  }
  // There is nothing to sample and nothing to wait for: its budget, or that of all thinking, is 0.
  bool ends_at_once() const noexcept;

  struct Verdict {
    bool ended = false;
    StopReason reason = StopReason::kStop;
    bool shut = false;  // the model wrote its end mark itself: nothing to force
  };
  Sampled Sample(Sampler* sampler, std::span<const float> logits) noexcept;
  Verdict Accept(const Sampled& sampled) noexcept;
  // A latent phase takes the hidden state of its last row instead, [num_embd].
  bool latent() const noexcept { return phase_->latent > 0; }
  Verdict AcceptLatent(std::span<const float> hidden) noexcept;

  // Ends the phase; what must be forced is put into the context. The result is the caller's.
  std::unique_ptr<PhaseResult> End(const Verdict& verdict, double now_ms);

  // Now inside a reasoning block, in a phase of either channel.
  bool thinking() const noexcept { return phase_ && run_.tracker.inside(); }
  // Ends thinking. In a reasoning phase the verdict says that the phase is over; in an answer phase
  // the block is shut and the answer goes on.
  Verdict CloseThinking(StopReason reason) noexcept;

  // StopThinking was called: phases of thinking that are still to come end at once.
  bool interrupted = false;

  // -- what the planner needs
  // ---------------------------------------------------------------------------------------- Rows
  // that will be forced, and answer tokens that will be sampled, after what is pending now.
  void FillOwed(PlanSeq* plan) const noexcept;
  std::int32_t reserve() const noexcept;  // cells kept free for it: the rest of the chain's answers

  // -- reports
  // -------------------------------------------------------------------------------------------------------
  void CountStep(double begin_ms, double end_ms) noexcept;  // a step that decoded rows of it
  // Next piece of text to stream, at most Event::kTextBytes, whole characters. False: nothing to
  // show.
  bool NextText(Event* event) noexcept;
  void TakeBack(const Event& event) noexcept;  // it could not be delivered

  std::int32_t plan_index = 0;  // where the planner of this step sees it

  // Set by probes (probe.h).
  struct ProbeState {
    std::int32_t next_at = 0;  // reasoning tokens at which the next probe starts
    std::int32_t agree = 0;
    std::string text;
  };
  ProbeState probe;
  PhaseResult* result() noexcept { return run_.result.get(); }

 private:
  struct Run {
    MarkerTracker tracker;
    LoopDetector loop;
    TokenBudget budget{kUnlimited};
    std::unique_ptr<PhaseResult> result;
    std::string text[2];  // by Channel
    std::size_t shown[2] = {};
    double logprob_sum = 0, logprob_min = 0, margin_sum = 0, entropy_sum = 0;
    std::int32_t num_sampled = 0;
    double first_row_ms = -1, prefilled_ms = -1;
  };

  void Put(std::span<const Token> tokens);
  void PutClose(std::span<const Token> sampled);
  std::int32_t NumMarkTokens() const;
  float LiftShare() const noexcept;

  RequestId id_;
  SequenceOptions options_;
  const Vocab* vocab_;
  std::int32_t num_cells_;
  std::vector<Token> tokens_;
  std::vector<float> latents_;  // [latent steps in tokens_, num_embd], what they were fed
  std::size_t num_embd_ = 0;    // known from the first of them on
  std::deque<Phase> chain_;
  std::optional<Phase> phase_;
  Run run_;
  std::string carry_;  // text after an end mark, for the phase that follows
  TokenBudget think_;
  std::uint64_t num_drawn_ = 0;
  std::int32_t num_put_ = 0;  // tokens put since the last phase began
  std::int32_t mark_begin_ =
      -1;  // where the end mark that ended the last phase begins in tokens_; -1: none
  std::int32_t owed_after_ = 0;  // answer tokens owed while no phase runs
  double enqueued_ms_ = 0;
};

}  // namespace edgereason
