// Plan, decode, commit: the one loop that answers all requests of an open model.
//
//   Scheduler scheduler(engine, clock, {});
//   scheduler.Start();                                            // one native thread
//   RequestId id = scheduler.Open({.deadline_ms = now + 2000});
//   scheduler.Run(id, {think, answer});
//   for (const Event& event : scheduler.Take(100, 64)) ...        // text, then the result of each
//   phase scheduler.Close(id, /*park=*/false);
//
// Open, Run, Cancel, StopThinking, Close and Take may be called from any thread (Take from one at a
// time); what they ask for happens between two steps. A step takes no lock unless something was
// asked for, allocates nothing per token, and does not throw. Tests leave out Start and call Step
// themselves.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "edgereason/clock.h"
#include "policy/cost.h"
#include "edgereason/engine.h"
#include "edgereason/event.h"
#include "context/kv.h"
#include "policy/plan.h"
#include "loop/probes.h"
#include "policy/sampler.h"
#include "context/sequence.h"
#include "policy/threads.h"

namespace edgereason {

struct SchedulerOptions {
  std::int32_t num_threads = 0;  // 0: follow the load
  std::int32_t park_cells =
      -1;                 // KV cells kept for prefixes of closed requests; -1: an eighth of all
  double chunk_ms = 50;   // longest step a prompt may cause while others wait
  double margin = 1.15;   // safety factor on the time of owed work
  double most_slack = 3;  // most that the margin grows by while requests with deadlines keep coming
  double delivery_ms = 2;  // a deadline is met this much early, for the way back to the caller
};

struct SchedulerStats {
  std::int64_t num_steps = 0;
  std::int64_t num_rows = 0;
  std::int64_t num_sampled = 0;  // tokens, probes included
  double decode_ms = 0;          // inside the engine
  double sample_ms = 0;          // in the sampler
  double overhead_ms = 0;        // planning, committing, events: all else of a step
  double load = 1;               // CostModel::load
  double step_ms = 0;            // predicted for one row now
  std::int32_t num_threads = 0;
  std::int32_t num_free_cells = 0;
  std::int32_t num_active = 0;
  std::int32_t num_waiting = 0;  // of them, without a slot
  std::int32_t num_parked = 0;
};

class Scheduler {
 public:
  Scheduler(std::shared_ptr<Engine> engine, std::shared_ptr<const Clock> clock,
            const SchedulerOptions& options);
  ~Scheduler();  // stops the thread; what was running is gone
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  void Start();  // warms up first, on the thread that decodes; throws what WarmUp throws
  void Stop() noexcept;
  // Learns what steps cost with a few made-up rows, and touches all weights. Before the first
  // request.
  void WarmUp();

  // deadline_ms and arrival_ms are on the clock passed in. Throws kUsage.
  RequestId Open(const SequenceOptions& options);
  // Appends phases to the chain of `id`. Throws kContextFull when prompt and answer can never fit,
  // kUsage on values that make no sense, kEngine once the engine has failed.
  void Run(RequestId id, std::vector<Phase> chain);
  // Several at once: all of them start in the same step, so that the same seeds share the same
  // batches.
  struct IdAndChain {
    RequestId id;
    std::vector<Phase> chain;
  };
  void RunAll(std::vector<IdAndChain> runs);
  void StopThinking(RequestId id);  // what it thinks now, and all that it has yet to think
  void Cancel(RequestId id);        // ends the chain; its cells are free within one step
  void Close(RequestId id, bool park);

  // Loads a prefix and holds it as long as this lives, for all requests whose prompts begin with
  // its slots: the token returned, the one below it, and so on, `num_slots` of them. Waits until it
  // is there. Throws what Engine::LoadPrefix throws, kUsage where its arrays have another size.
  Token AddPrefix(const PrefixKv& prefix);

  std::vector<Event> Take(double timeout_ms, std::size_t max_events) {
    return ring_.Take(timeout_ms, max_events);
  }
  SchedulerStats stats() const;
  double NowMs() const noexcept { return clock_->NowMs(); }

  // One turn of the loop. False: there was nothing to do.
  bool Step() noexcept;

 private:
  struct NewPrefix {
    PrefixKv kv;
    std::vector<float> numbers;  // of kv; who asked may not wait for the end
    std::promise<Token> first;
  };
  struct Command {
    enum class Kind : std::uint8_t {
      kOpen,
      kRun,
      kStopThinking,
      kCancel,
      kClose,
      kPark,
      kPrefix
    } kind;
    RequestId id = 0;
    SequenceOptions options{};
    std::vector<Phase> chain{};
    std::shared_ptr<NewPrefix> prefix{};
  };
  struct RowOwner {
    Sequence* sequence = nullptr;  // null: a probe's row
    ProbeRun* probe = nullptr;
  };

  void Loop() noexcept;
  void Post(std::vector<Command> commands);
  void CheckRun(RequestId id, const std::vector<Phase>& chain) const;
  void CheckFits(const std::vector<Phase>& chain) const;
  void Apply(Command* command);
  Token LoadPrefix(const PrefixKv& prefix);
  bool ApplyCommands();  // false: there were none

  // The parts of a step, in order.
  bool Expire(double now_ms, std::int32_t num_rows);
  void Admit();
  bool Admit(Sequence* sequence);
  bool PrefixIsComing(const Sequence& sequence) const noexcept;
  bool EvictOne();
  void ParkBeginning(Sequence* sequence);
  void CloseThinkingInTime(double now_ms);
  PlanSeq View(const Sequence& sequence) const noexcept;
  void CountArrival(const Sequence& sequence, double now_ms) noexcept;
  double Slack(double now_ms) const noexcept;
  bool Plan(double now_ms);  // false: nobody gets a row
  void FitCells();
  void BuildRows();
  Status DecodeRows() noexcept;
  void Commit(double begin_ms, double end_ms);
  void CommitSequence(Sequence* sequence, std::int32_t row, double begin_ms, double end_ms);
  Sequence::Verdict SampleNext(Sequence* sequence, std::int32_t row);
  void CommitProbe(ProbeRun* probe, std::int32_t row);
  void StartProbe(Sequence* sequence);
  void DropProbe(const Sequence* owner);
  void SweepProbes();
  void MakeRoom();
  void Fail();

  void Advance(Sequence* sequence, double now_ms);
  void EndPhase(Sequence* sequence, const Sequence::Verdict& verdict, double now_ms);
  void EndChain(Sequence* sequence, StopReason reason, double now_ms);
  void ReleaseKv(Sequence* sequence);
  void Activate(Sequence* sequence);
  void Deactivate(Sequence* sequence);
  void Forget(Sequence* sequence, bool park);
  void FlushText();
  void FlushEnded();
  void Publish();
  Sequence* Find(RequestId id);

  const std::shared_ptr<Engine> engine_;
  const std::shared_ptr<const Clock> clock_;
  const SchedulerOptions options_;
  const EngineInfo info_;

  // Touched by the native thread only.
  Kv kv_;
  CostModel cost_;
  ThreadGovernor governor_;
  LoadMeter meter_;
  double next_meter_ms_ = 0;
  double last_step_ms_ = 0;  // when it ended
  Sampler sampler_;
  std::unordered_map<RequestId, std::unique_ptr<Sequence>> sequences_;
  std::vector<Sequence*> active_;       // with a phase; by priority, deadline, arrival
  std::vector<Sequence*> by_deadline_;  // the same, by deadline
  std::vector<std::unique_ptr<ProbeRun>> probes_;
  std::vector<PlanSeq> plan_;
  std::vector<std::int32_t> edf_;     // indices into plan_ of those with a deadline, earliest first
  std::vector<std::int32_t> grants_;  // rows of each of active_
  std::vector<Row> rows_;
  std::vector<RowOwner> owners_;  // of the last row of each sequence or probe in rows_; else empty
  std::vector<Event> ended_;      // results that the ring had no room for
  SchedulerStats counters_;       // the sums; Publish copies them
  bool made_room_ = false;
  std::vector<Token> last_begun_;      // what the last request with a deadline held when it ended
  Token next_slot_ = kFirstSlotToken;  // of the next prefix
  double arriving_share_ = 0;          // of the time, taken by owed work that arrived lately
  double arriving_at_ms_ = 0;          // when that was true

  EventRing ring_;
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> failed_{false};
  std::atomic<Token> slots_end_{kFirstSlotToken};  // next_slot_, for other threads

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable work_;
  std::vector<Command> commands_;
  std::atomic<bool> has_commands_{false};
  std::unordered_set<RequestId> open_ids_;
  RequestId next_id_ = 1;
  mutable std::mutex stats_mutex_;  // guards stats_, which the native thread only tries to lock
  SchedulerStats stats_;
};

}  // namespace edgereason
