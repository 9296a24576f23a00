// Plan, decode, commit: the one loop that answers all requests of an open model.
//
//   Scheduler scheduler(engine, clock, {});
//   scheduler.Start();                                            // one native thread
//   SequenceId id = scheduler.Open({.deadline_ms = now + 2000});
//   scheduler.Run(id, {think, answer});
//   for (const Event& event : scheduler.Take(100, 64)) ...        // text, then each phase's result
//   scheduler.Close(id, /*park=*/false);
//
// All but Step may be called from any thread (Take from one at a time); what they ask for happens
// between two steps. A step takes no lock unless something was asked for, allocates nothing per
// token, and does not throw. Tests leave out Start and call Step themselves.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "edgereason/clock.h"
#include "edgereason/engine.h"
#include "edgereason/event.h"
#include "edgereason/sequence_options.h"

namespace edgereason {

// Where the threads that decode run, and how. As the system has it where nothing is said.
struct ThreadOptions {
  std::vector<std::int32_t> cores = {};  // their numbers; empty: any of the process
  std::int32_t nice = 0;                 // -20, the most urgent, to 19; 0: as it is
  bool lock_memory = false;              // after warm-up: all that the process holds stays in RAM
};

struct SchedulerOptions {
  std::int32_t num_threads = 0;  // 0: follow the load
  std::int32_t park_cells = -1;  // KV cells kept for what was closed; -1: an eighth of all
  double chunk_ms = 50;          // longest step a prompt may cause while others wait
  double margin = 1.15;          // safety factor on the time of owed work
  double answer_share = 0.75;    // share of answers, by length, that a deadline has time for
  double most_slack = 3;  // most that the margin grows by while requests with deadlines keep coming
  double delivery_ms = 2;  // a deadline is met this much early, for the way back to the caller
  // Tokens guessed from the text so far, or by a draft model, and checked in one step, at most
  // (policy/lookahead.h); 0: off.
  std::int32_t lookahead = 0;
  double patience_ms = 10000;  // for which more urgent ones go first until it rises one priority
  ThreadOptions thread = {};
};

struct SchedulerStats {
  std::int64_t num_steps = 0;
  std::int64_t num_rows = 0;
  std::int64_t num_sampled = 0;  // tokens, probes included
  double decode_ms = 0;          // inside the engine
  double sample_ms = 0;          // in the sampler
  double overhead_ms = 0;        // planning, committing, events, a draft model: all else of a step
  double longest_ms = 0;         // of all steps: nobody's text waited longer for the loop
  double load = 1;               // CostModel::load
  double step_ms = 0;            // predicted for one row now
  std::int32_t num_threads = 0;
  std::int32_t num_free_cells = 0;
  std::int32_t num_active = 0;
  std::int32_t num_waiting = 0;  // of them, without KV
  std::int32_t num_parked = 0;
};

// What was learned of the lengths of one kind of answer; see policy/lengths.h.
struct LearnedLength {
  std::int32_t kind = 0;
  double weight = 0;
  double mean = 0;
  double spread = 0;
};

// What steps of a model were measured to cost on this machine; see policy/cost.h.
struct KnownCost {
  std::vector<double> knot_ms;  // of 1, 2, 4 ... 1024 rows, no cells read; 0: not measured
  double cell_ms = 0;           // per KV cell that a row reads
};

class Scheduler {
 public:
  // `draft`, a smaller model of the same vocabulary, guesses what follows (loop/drafter.h). Throws
  // kUsage, kUnsupported, kBundle where the vocabularies differ.
  Scheduler(std::shared_ptr<Engine> engine, std::shared_ptr<const Clock> clock,
            const SchedulerOptions& options, std::shared_ptr<Engine> draft = nullptr);
  ~Scheduler();  // stops the thread; what was running is gone
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Warms up first, on the thread that decodes; throws what WarmUp throws, and what keeps that
  // thread from being as `options.thread` wants it: kUsage, kUnsupported, kMemoryLimit.
  void Start();
  void Stop() noexcept;
  // Learns what steps cost with a few made-up rows, and touches all weights. Before the first
  // request.
  void WarmUp();

  // deadline_ms and arrival_ms are on the clock passed in. Throws kUsage.
  SequenceId Open(const SequenceOptions& options);
  // Appends phases to the chain of `id`. Throws kContextFull when prompt and answer can never fit,
  // kUsage on values that make no sense, kEngine once the engine has failed.
  void Run(SequenceId id, std::vector<Phase> chain);
  // Several at once: all of them start in the same step, so that the same seeds share the same
  // batches.
  struct IdAndChain {
    SequenceId id;
    std::vector<Phase> chain;
  };
  void RunAll(std::vector<IdAndChain> runs);
  void StopThinking(SequenceId id);  // what it thinks now, and all that it has yet to think
  void Cancel(SequenceId id);        // ends the chain; its cells are free within one step
  void Close(SequenceId id, bool park);

  // Loads a prefix and holds it as long as this lives, for all sequences that are opened with it.
  // Waits until it is there. Throws what Engine::LoadPrefix throws, kUsage where its arrays have
  // another size.
  PrefixId AddPrefix(const PrefixKv& prefix);

  // KV that is parked, to be kept in files: what there is, the longest unused first; the bytes of one
  // of them, empty where it is there no more; and back, as if it had just been parked. False: there
  // is no room, or more of it is there already. Each waits for the end of the step that runs.
  std::vector<KeptTokens> kept();
  std::vector<std::uint8_t> SaveKept(const KeptTokens& kept);
  bool RestoreKept(const KeptTokens& kept, std::span<const std::uint8_t> state);
  // How many of the first of these tokens are parked.
  std::int32_t NumKept(const KeptTokens& kept);
  // Makes `key` stand for these adapters, for all sequences that are opened with it. Waits until
  // they are loaded. Throws what Engine::AddAdapters throws, kUsage on key 0.
  void AddAdapters(ContextKey key, const Adapters& adapters);

  // To be kept from run to run: before Start, and after Stop.
  void RestoreLengths(const std::vector<LearnedLength>& lengths);
  std::vector<LearnedLength> lengths() const;
  // Before Start: steps cost this, and the warm-up learns the load alone. Throws kUsage.
  void RestoreCost(const KnownCost& cost);

  std::vector<Event> Take(double timeout_ms, std::size_t max_events);
  // One event, without a lock and without allocating: for threads in real time.
  bool TakeOne(double timeout_ms, Event* event) noexcept;
  SchedulerStats stats() const;  // as of the last step that nobody read them in
  double NowMs() const noexcept;
  std::string last_error() const;  // why the engine failed, or the draft model

  // One turn of the loop. False: there was nothing to do.
  bool Step() noexcept;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace edgereason
