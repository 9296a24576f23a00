// The loop that answers all requests of an open model, one step at a time: admit, plan, apply,
// decode, commit. Lives in one thread, knows none.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "edgereason/clock.h"
#include "edgereason/engine.h"
#include "edgereason/event.h"
#include "edgereason/scheduler.h"
#include "loop/decoder.h"
#include "loop/drafter.h"
#include "loop/memory.h"
#include "loop/outbox.h"
#include "loop/phases.h"
#include "loop/probes.h"
#include "loop/sequences.h"
#include "policy/admission.h"
#include "policy/interference.h"
#include "policy/lengths.h"
#include "policy/sampler.h"
#include "policy/step_plan.h"

namespace edgereason {

class StepLoop {
 public:
  // `ring` is told what happens; `draft`, where there is one, guesses. Throws kUsage, kUnsupported,
  // kBundle where the vocabularies differ.
  StepLoop(Engine* engine, const Clock* clock, const SchedulerOptions& options, EventRing* ring,
           Engine* draft);

  void WarmUp() {
    decoder_.WarmUp();
    if (drafter_ != nullptr) drafter_->WarmUp();
  }
  void RestoreCost(std::span<const double> knot_ms, double cell_ms) noexcept {
    decoder_.RestoreCost(knot_ms, cell_ms);
  }

  // What callers ask for, between two steps. An id that is closed is no error. What goes wrong with
  // a sequence, then or in a step, ends that sequence alone.
  void Open(SequenceId id, const SequenceOptions& options, PrefixRef prefix) noexcept;
  void Run(SequenceId id, std::vector<Phase> chain) noexcept;
  void StopThinking(SequenceId id) noexcept;
  void Cancel(SequenceId id) noexcept;
  void Close(SequenceId id, bool park) noexcept;
  void LoadPrefix(PrefixRef prefix, const PrefixKv& kv) { memory_.LoadPrefix(prefix, kv); }
  Memory& memory() noexcept { return memory_; }
  void AddAdapters(ContextKey key, const Adapters& adapters) {
    engine_->AddAdapters(key, adapters);
  }

  // One step. `begin_ms`: when this turn of the loop began. False: there was nothing to do.
  bool Step(double begin_ms) noexcept;

  Lengths& lengths() noexcept { return lengths_; }

  bool idle() const noexcept { return sequences_.active().empty() && outbox_.empty(); }
  bool failed() const noexcept { return failed_; }
  SchedulerStats stats() noexcept;

 private:
  struct RowOwner {  // null: the row is not the last of anybody's
    Sequence* sequence = nullptr;
    ProbeRun* probe = nullptr;
    std::int32_t num_guessed = 0;  // rows behind it, of tokens that may follow
  };

  bool DoStep(double begin_ms);
  // Does `work` for `sequence`. What it throws breaks that one.
  template <typename Work>
  void Contain(Sequence* sequence, Work work) noexcept;
  void Break(Sequence* sequence, Fault fault) noexcept;

  void Refuse(double now_ms);
  void Admit(double now_ms);
  std::int32_t Urgency(const Sequence& sequence) const noexcept;
  void SortByUrgency();
  void Plan(double now_ms);
  PlanSeq View(const Sequence& sequence) const noexcept;
  PlanLimits Limits(double now_ms) const noexcept;
  void LandSoftly(Sequence* sequence, const PlanSeq& seq, double now_ms) const noexcept;
  double ClosingMs(const PlanSeq& seq, const PlanLimits& limits) const noexcept;
  void Apply(double now_ms);
  bool KeepOneKey();
  void BuildRows();
  std::int32_t AddGuesses(Sequence* sequence, std::int32_t num_before, std::int32_t most);
  std::int32_t Draft(Sequence& sequence, std::int32_t num_rows, std::span<Token> guesses);
  bool HasTimeFor(std::int32_t num_rows, double wait_ms = 0) const noexcept;
  void AddProbeRows();
  void Prefetch() const noexcept;
  void CountInterference() noexcept;
  void CountHeldUp() noexcept;
  void Commit();
  void CommitSequence(Sequence* sequence, std::int32_t row, std::int32_t num_guessed);
  Sequence::Verdict CommitSample(Sequence* sequence, std::int32_t row);
  bool ScorePrompt(Sequence* sequence, std::int32_t row);
  void CommitProbe(ProbeRun* probe, std::int32_t row);
  void CommitVerdict(Sequence* sequence, const Sequence::Verdict& verdict);
  Sampled SampleNext(Sequence* sequence, std::span<const float> logits);
  std::span<const float> Mixed(std::span<const Weighted> blend);
  void MakeRoom();
  void Fail();

  Engine* engine_;
  const Clock* clock_;
  const SchedulerOptions options_;
  const EngineInfo info_;

  Sequences sequences_;
  Memory memory_;
  Probes probes_;
  Outbox outbox_;
  Lengths lengths_;
  Phases phases_;
  Decoder decoder_;
  std::unique_ptr<Drafter> drafter_;  // null: no model guesses
  Sampler sampler_;
  Interference interference_;
  Refusals refusals_;

  // Of this step; kept so that their space is.
  std::vector<Sequence*> order_;  // sequences as view_ has them
  StepView view_;
  std::vector<PlanSeq> due_;              // those with a deadline, the earliest first
  std::vector<std::uint8_t> may_refuse_;  // of due_
  StepPlan plan_;
  std::vector<Row> rows_;
  std::vector<RowOwner> owners_;  // of each row
  std::array<Token, kMostAhead> guesses_;
  std::vector<float> mixed_;      // [num_embd], a blend; empty without kTokenRows
  std::vector<float> token_row_;  // [num_embd], one token of it

  SchedulerStats counters_;  // the sums
  bool has_keys_ = false;    // somebody was opened with adapters
  bool failed_ = false;
};

}  // namespace edgereason
