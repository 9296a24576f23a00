// One line of thought: its context, its chain of phases, and what each sampled token means for
// them.
//
//   sequence.Enqueue({think, answer}, now_ms);
//   sequence.Begin();                        // the first phase; its tokens are pending
//   ... decode pending() rows ...
//   verdict = sequence.Accept(sequence.Sample(&sampler, logits));
//   if (verdict.ended) result = sequence.End(verdict, now_ms);
//
// Knows no engine and no other sequence. The step loop asks what must be decoded (pending), hands
// in what was sampled (Accept), and is told when a phase has ended. Nothing here allocates per
// token.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "context/context.h"
#include "context/guide.h"
#include "edgereason/event.h"
#include "edgereason/phase.h"
#include "edgereason/sequence_options.h"
#include "policy/blend.h"
#include "policy/budget.h"
#include "policy/lengths.h"
#include "policy/lookahead.h"
#include "policy/marker.h"
#include "policy/plan.h"
#include "policy/repetition.h"
#include "policy/sampler.h"

namespace edgereason {

class Sequence {
 public:
  Sequence(SequenceId id, const SequenceOptions& options, PrefixRef prefix, const Vocab* vocab,
           std::int32_t num_cells);

  SequenceId id() const noexcept { return id_; }
  const SequenceOptions& options() const noexcept { return options_; }

  // ---- the context

  SeqId seq = -1;                // its sequence in the engine; -1: it has no KV
  std::int32_t num_decoded = 0;  // items of the context whose KV exists
  const Context& context() const noexcept { return context_; }
  std::span<const ContextItem> decoded() const noexcept { return context_.first(num_decoded); }
  std::int32_t pending() const noexcept { return context_.size() - num_decoded; }

  // ---- phases

  void Enqueue(std::vector<Phase> chain, double now_ms);
  void ClearChain() noexcept { chain_.clear(); }
  bool running() const noexcept { return phase_.has_value(); }
  bool has_next() const noexcept { return !chain_.empty(); }
  const Phase& phase() const noexcept { return *phase_; }

  // Starts the next phase. Returns how many items of the KV stay valid: the caller trims it to
  // that. At least one item is pending then. Throws kUsage where the context is empty.
  std::int32_t Begin();
  // There is nothing to sample and nothing to wait for: its budget, or that of all thinking, is 0.
  bool ends_at_once() const noexcept;

  struct Verdict {
    bool ended = false;
    StopReason reason = StopReason::kStop;
    bool shut = false;  // the model wrote its end mark itself: nothing to force
  };
  // To be called before each Sample. False: its grammar allows nothing more, the phase is over.
  bool Prepare() noexcept { return !run_.guide || run_.guide->Prepare(); }
  Sampled Sample(Sampler* sampler, std::span<const float> logits);
  // `mixed`: the embedding that Sampled::blend comes to, [num_embd]; empty where it is no blend. The
  // token is what it reads as. One that may begin a mark is fed as it is, so that marks are exact.
  Verdict Accept(const Sampled& sampled, std::span<const float> mixed = {});
  // The log-probs that a phase without tokens asks for. False: the logits are of no use.
  bool Score(std::span<const float> logits);
  // A latent phase takes the hidden state of its last row instead, [num_embd].
  bool latent() const noexcept { return phase_->latent > 0; }
  Verdict AcceptLatent(std::span<const float> hidden);

  // The tokens of its prompt are scored: each row that another follows gives logits, too.
  bool scores_prompt() const noexcept { return phase_ && phase_->score_prompt; }

  // `logits` of the row at place `at`: scores the token behind it, where that is the prompt's. Doing
  // so again changes nothing. False: they are no logits.
  bool ScorePrompt(std::int32_t at, std::span<const float> logits);

  // Tokens that may be guessed behind the one that is pending: no more than the phase may sample
  // there. 0: nothing is guessed here.
  std::int32_t MostGuesses() const noexcept;
  std::int32_t num_sampled() const noexcept { return run_.num_sampled; }  // in this phase
  Lookahead lookahead;

  // Ends the phase; what must be forced is put into the context. The result is the caller's.
  std::unique_ptr<PhaseResult> End(const Verdict& verdict, double now_ms);

  // Now inside a reasoning block, in a phase of any role.
  bool thinking() const noexcept { return phase_ && run_.tracker.inside(); }
  // Ends thinking. In a thinking phase the verdict says that the phase is over; in any other the
  // block is shut and the phase goes on.
  Verdict CloseThinking(StopReason reason);

  // Nothing was sampled yet, in any phase.
  bool untouched() const noexcept { return num_drawn_ == 0; }

  // StopThinking was called: phases of thinking that are still to come end at once.
  bool interrupted = false;

  // Something went wrong with it: no phase runs, and none will.
  void Break() noexcept;
  bool broken = false;

  // ---- what the planner needs

  // Rows that are pending, rows that will be forced and answer tokens that may be sampled after
  // them, and the cells to be kept for those.
  void FillOwed(PlanSeq* plan) const noexcept;
  // Of these answer tokens, how many a share `q` of answers will not exceed.
  std::int32_t ExpectedSteps(const Lengths& lengths, double q) const noexcept;

  // How much of its time for thinking is used, and how much there is: near the end of it, in the
  // last `landing_ms` at most, the end mark becomes likelier. limit_ms 0: it has no deadline.
  void SetThinkingTime(double used_ms, double limit_ms, double landing_ms) noexcept {
    used_ms_ = used_ms;
    limit_ms_ = limit_ms;
    landing_ms_ = landing_ms;
  }
  // When it began to think in this phase; negative: its prompt is still being read.
  double thinks_since_ms() const noexcept { return run_.prefilled_ms; }

  // ---- reports

  void CountStep(double begin_ms, double end_ms) noexcept;  // a step that decoded rows of it
  void CountGuesses(std::int32_t num, std::int32_t num_right) noexcept;
  // Asks the caches for what a token of it touches: itself; what it points to (`depth` 1), and what
  // that points to (2). Does nothing else.
  void Prefetch(int depth) const noexcept;
  // Next piece of text to stream, at most Event::kTextBytes, whole characters. False: nothing to
  // show.
  bool NextText(Event* event) noexcept;
  void TakeBack(const Event& event) noexcept;  // it could not be delivered

  std::int32_t plan_index = 0;  // where the planner of this step sees it
  double held_up_ms = 0;        // spent in steps of more urgent ones that had no row for it
  std::int64_t last_step = 0;   // the last step with rows of it

  // Set by probes (loop/probes.h).
  struct ProbeState {
    std::int32_t next_at = 0;  // reasoning tokens at which the next probe starts
    std::int32_t agree = 0;
    std::string text;
  };
  ProbeState probe;
  PhaseResult* result() noexcept { return run_.result.get(); }

 private:
  struct Run {  // of the phase that runs
    MarkerTracker tracker;
    std::unique_ptr<Guide> guide;  // null: the phase has no grammar
    RepetitionDetector repetition;
    TokenBudget budget{kUnlimited};
    BlendSwitch turns;
    std::unique_ptr<PhaseResult> result;
    std::string text[2];  // by Channel
    std::size_t shown[2] = {};
    double logprob_sum = 0, logprob_min = 0, margin_sum = 0, entropy_sum = 0;
    std::int32_t num_sampled = 0;
    std::int32_t num_prompt = 0;  // items of the context when the phase began
    bool braked = false;          // the token that was drawn last gives way to the end mark
    double first_row_ms = -1, prefilled_ms = -1;
  };

  std::int32_t Restart(std::span<const Token> prompt, std::size_t num_forced);
  void StartRun(std::int32_t num_cached);
  void Put(std::span<const Token> tokens);
  void PutClose(std::span<const Token> sampled);
  Verdict AcceptGuided(Token token);
  void TakeAnswer(Token token);
  void MakeWhole();
  std::int32_t NumMarkTokens() const;
  std::int32_t Limit() const noexcept;  // tokens that the phase may sample
  bool spent() const noexcept;          // nothing is left of that, or of the total
  void Feed(Token token, std::span<const float> mixed);
  // How far the end mark is lifted, and which limit is the nearer.
  struct Lift {
    float share = 0;
    StopReason reason = StopReason::kBudget;
  };
  Lift EndLift() const noexcept;
  bool Brakes(std::span<const float> logits, Token token) const noexcept;
  // Nothing but blanks was answered: that ends no answer. Whoever asks is not answered with nothing.
  // Where a grammar says what an answer is, blanks may be all of it.
  bool begins_answer() const noexcept {
    if (run_.guide) return phase_->role == Role::kAnswer && run_.num_sampled == 0;
    const std::string_view answer = run_.text[static_cast<std::size_t>(Channel::kAnswer)];
    return phase_->role == Role::kAnswer && !run_.tracker.inside() &&
           answer.find_first_not_of(" \t\r\n") == std::string_view::npos;
  }
  std::int32_t num_answered() const noexcept {  // answer tokens of this phase
    return static_cast<std::int32_t>(run_.result->tokens.size()) - run_.result->num_reasoning;
  }

  SequenceId id_;
  SequenceOptions options_;
  const Vocab* vocab_;
  std::int32_t num_cells_;
  Context context_;
  std::deque<Phase> chain_;
  std::optional<Phase> phase_;
  Run run_;
  std::string carry_;    // text after an end mark, for the phase that follows
  bool called_ = false;  // it begins with a call: what would be forced before it is left out
  TokenBudget think_;
  std::uint64_t num_drawn_ = 0;
  std::int32_t num_put_ = 0;  // tokens put since the last phase began
  // Where the end mark that ended the last phase begins in the context; -1: none.
  std::int32_t mark_begin_ = -1;
  std::int32_t owed_after_ = 0;  // answer tokens owed while no phase runs
  double enqueued_ms_ = 0;
  double used_ms_ = 0;  // see SetThinkingTime
  double limit_ms_ = 0;
  double landing_ms_ = 0;
};

}  // namespace edgereason
