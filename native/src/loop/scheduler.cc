// The outside of the loop: its thread, and what callers ask for from theirs.
#include "edgereason/scheduler.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <exception>
#include <functional>
#include <future>
#include <iterator>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>

#include "loop/checks.h"
#include "loop/step_loop.h"
#include "loop/thread_options.h"
#include "policy/cost.h"

namespace edgereason {
namespace {

constexpr double kIdleWaitMs = 100;
constexpr double kBlockedWaitMs = 5;  // somebody waits, and may have a deadline
constexpr std::chrono::milliseconds kStopCheck{50};
constexpr std::int32_t kNotLoaded = -1;  // instead of the positions of a prefix

}  // namespace

class Scheduler::Impl {
 public:
  Impl(std::shared_ptr<Engine> engine, std::shared_ptr<const Clock> clock,
       const SchedulerOptions& options, std::shared_ptr<Engine> draft)
      : engine_(std::move(engine)),
        draft_(std::move(draft)),
        clock_(std::move(clock)),
        info_(engine_->info()),
        thread_options_(options.thread),
        loop_(engine_.get(), clock_.get(), options, &ring_, draft_.get()) {}
  ~Impl() { Stop(); }

  void Start();
  void Stop() noexcept;
  void WarmUp() { loop_.WarmUp(); }
  void RestoreCost(const KnownCost& cost);
  bool Step() noexcept;

  SequenceId Open(const SequenceOptions& options);
  void RunAll(std::vector<IdAndChain> runs);
  void Close(SequenceId id, bool park);
  PrefixId AddPrefix(const PrefixKv& prefix);
  // The same of work that has a result.
  template <typename Work>
  auto Ask(Work work) -> decltype(work(std::declval<StepLoop&>()));
  void AddAdapters(ContextKey key, const Adapters& adapters);

  Lengths& lengths();

  // Called by the loop's thread between two steps.
  using Command = std::function<void(StepLoop&)>;
  void Post(Command command);

  std::vector<Event> Take(double timeout_ms, std::size_t max_events) {
    return ring_.Take(timeout_ms, max_events);
  }
  bool TakeOne(double timeout_ms, Event* event) noexcept {
    return ring_.TakeOne(timeout_ms, event);
  }
  SchedulerStats stats() const {
    const std::scoped_lock lock(stats_mutex_);
    return stats_;
  }
  double NowMs() const noexcept { return clock_->NowMs(); }
  std::string last_error() const {
    const std::string own = engine_->last_error();
    return own.empty() && draft_ ? "the draft model: " + draft_->last_error() : own;
  }

 private:
  void RunThread() noexcept;
  bool RunCommands();  // false: there were none
  void Publish() noexcept;
  void Check(const IdAndChain& run) const;
  void SetBegun(const std::vector<IdAndChain>& runs);
  PrefixRef NewPrefix(const PrefixKv& prefix);
  void Await(Command work);

  const std::shared_ptr<Engine> engine_;
  const std::shared_ptr<Engine> draft_;  // null: no model guesses
  const std::shared_ptr<const Clock> clock_;
  const EngineInfo info_;
  const ThreadOptions thread_options_;
  EventRing ring_;
  StepLoop loop_;  // touched by its thread only, once that runs
  std::thread thread_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> failed_{false};

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable work_;
  std::vector<Command> commands_;
  std::atomic<bool> has_commands_{false};
  struct Opened {
    PrefixRef prefix;
    bool begun = false;  // it has run, so that it has a context
  };
  std::unordered_map<SequenceId, Opened> open_;
  std::vector<std::int32_t> prefixes_;  // positions of each that was added; PrefixId is index + 1
  std::int64_t num_pinned_ = 0;         // cells that prefixes hold
  SequenceId next_id_ = 1;

  mutable std::mutex stats_mutex_;  // guards stats_, which the loop's thread only tries to lock
  SchedulerStats stats_;
};

// ---- the loop's thread

void Scheduler::Impl::Start() {
  if (thread_.joinable()) return;
  std::promise<void> warm;
  std::future<void> done = warm.get_future();
  // Warm-up belongs to the thread that decodes: an OpenMP library keeps a pool for each thread that
  // computes, and holds its threads back once there are more of them than cores.
  thread_ = std::thread([this, warm = std::move(warm)]() mutable {
    try {
      PlaceThread(thread_options_);
      WarmUp();
      if (thread_options_.lock_memory) LockMemory();
    } catch (...) {
      return warm.set_exception(std::current_exception());
    }
    warm.set_value();
    RunThread();
  });
  done.get();
}

void Scheduler::Impl::Stop() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  ring_.Wake();
  if (thread_.joinable()) thread_.join();
}

void Scheduler::Impl::RunThread() noexcept {
  while (!stopping_) {
    if (Step()) continue;
    const double wait_ms = loop_.idle() ? kIdleWaitMs : kBlockedWaitMs;
    std::unique_lock lock(mutex_);
    work_.wait_for(lock, std::chrono::duration<double, std::milli>(wait_ms),
                   [this] { return stopping_ || !commands_.empty(); });
  }
}

bool Scheduler::Impl::Step() noexcept {
  const double begin_ms = NowMs();
  const bool commanded = RunCommands();
  const bool did = loop_.Step(begin_ms);
  failed_ = loop_.failed();
  if (commanded || did || !loop_.idle()) Publish();
  return did;
}

bool Scheduler::Impl::RunCommands() {
  if (!has_commands_) return false;
  std::vector<Command> commands;
  {
    const std::scoped_lock lock(mutex_);
    commands.swap(commands_);
    has_commands_ = false;
  }
  for (Command& command : commands) command(loop_);
  return true;
}

// Never waits: who reads the figures at this moment gets those of the step before.
void Scheduler::Impl::Publish() noexcept {
  const std::unique_lock lock(stats_mutex_, std::try_to_lock);
  if (lock.owns_lock()) stats_ = loop_.stats();
}

// ---- callers' threads

void Scheduler::Impl::Post(Command command) {
  {
    const std::scoped_lock lock(mutex_);
    commands_.push_back(std::move(command));
    has_commands_ = true;
  }
  work_.notify_one();
}

SequenceId Scheduler::Impl::Open(const SequenceOptions& options) {
  CheckOptions(options);
  SequenceId id = 0;
  PrefixRef prefix;
  {
    const std::scoped_lock lock(mutex_);
    if (options.prefix < 0 || options.prefix > std::ssize(prefixes_) ||
        (options.prefix != kNoPrefix &&
         prefixes_[static_cast<std::size_t>(options.prefix) - 1] == kNotLoaded)) {
      throw Error(ErrorCode::kUsage, "no prefix " + std::to_string(options.prefix));
    }
    if (options.prefix != kNoPrefix) {
      prefix = {options.prefix, prefixes_[static_cast<std::size_t>(options.prefix) - 1]};
    }
    id = next_id_++;
    open_.emplace(id, Opened{prefix});
  }
  Post([=](StepLoop& loop) { loop.Open(id, options, prefix); });
  return id;
}

void Scheduler::Impl::Check(const IdAndChain& run) const {
  const std::scoped_lock lock(mutex_);
  const auto found = open_.find(run.id);
  if (found == open_.end()) {
    throw Error(ErrorCode::kUsage, "request " + std::to_string(run.id) + " is not open");
  }
  // All cells but those that other prefixes hold.
  const std::int32_t num_prefix = found->second.prefix.num_positions;
  CheckChain(run.chain, info_, info_.num_cells - num_pinned_ + num_prefix, num_prefix,
             found->second.begun);
}

void Scheduler::Impl::SetBegun(const std::vector<IdAndChain>& runs) {
  const std::scoped_lock lock(mutex_);
  for (const IdAndChain& run : runs) {
    const auto found = open_.find(run.id);
    if (found != open_.end()) found->second.begun = true;
  }
}

void Scheduler::Impl::RunAll(std::vector<IdAndChain> runs) {
  for (const IdAndChain& run : runs) Check(run);
  if (failed_) {
    throw Error(ErrorCode::kEngine, "the engine has failed before", "open the model anew");
  }
  SetBegun(runs);
  // One command, so that all start in the same step.
  Post([runs = std::move(runs)](StepLoop& loop) mutable {
    for (IdAndChain& run : runs) loop.Run(run.id, std::move(run.chain));
  });
}

Lengths& Scheduler::Impl::lengths() {
  if (!thread_.joinable()) return loop_.lengths();
  throw Error(ErrorCode::kUsage, "lengths are read and restored while the loop does not run");
}

void Scheduler::Impl::RestoreCost(const KnownCost& cost) {
  if (thread_.joinable()) {
    throw Error(ErrorCode::kUsage, "costs are restored while the loop does not run");
  }
  const auto is_wrong = [](double ms) { return !std::isfinite(ms) || ms < 0; };
  if (cost.knot_ms.size() > static_cast<std::size_t>(CostModel::kNumKnots) ||
      std::ranges::any_of(cost.knot_ms, is_wrong) || is_wrong(cost.cell_ms)) {
    throw Error(ErrorCode::kUsage,
                "a cost has milliseconds of 0 or more for 1, 2, 4 ... 1024 rows, and for a cell");
  }
  loop_.RestoreCost(cost.knot_ms, cost.cell_ms);
}

void Scheduler::Impl::Close(SequenceId id, bool park) {
  {
    const std::scoped_lock lock(mutex_);
    if (open_.erase(id) == 0) return;
  }
  Post([=](StepLoop& loop) { loop.Close(id, park); });
}

template <typename Work>
auto Scheduler::Impl::Ask(Work work) -> decltype(work(std::declval<StepLoop&>())) {
  auto answer = std::make_shared<std::optional<decltype(work(loop_))>>();
  Await([answer, work = std::move(work)](StepLoop& loop) { answer->emplace(work(loop)); });
  return std::move(**answer);
}

PrefixRef Scheduler::Impl::NewPrefix(const PrefixKv& prefix) {
  const std::scoped_lock lock(mutex_);
  prefixes_.push_back(kNotLoaded);
  return {static_cast<PrefixId>(prefixes_.size()), prefix.num_positions};
}

// Lets the loop do `work` and waits for it; throws what that throws. Whoever waits may give up
// before the end: `work` must own what it needs.
void Scheduler::Impl::Await(Command work) {
  if (!thread_.joinable()) return work(loop_);
  const auto ended = std::make_shared<std::promise<void>>();
  std::future<void> done = ended->get_future();
  Post([ended, work = std::move(work)](StepLoop& loop) {
    try {
      work(loop);
      ended->set_value();
    } catch (...) {
      ended->set_exception(std::current_exception());
    }
  });
  // The thread may have ended before it saw the command.
  while (done.wait_for(kStopCheck) != std::future_status::ready) {
    if (stopping_) throw Error(ErrorCode::kEngine, "the model was closed");
  }
  done.get();
}

void Scheduler::Impl::AddAdapters(ContextKey key, const Adapters& adapters) {
  if (key == 0) throw Error(ErrorCode::kUsage, "key 0 is the model as it was opened");
  Await([=](StepLoop& loop) { loop.AddAdapters(key, adapters); });
}

PrefixId Scheduler::Impl::AddPrefix(const PrefixKv& prefix) {
  CheckPrefix(prefix, info_);
  const PrefixRef ref = NewPrefix(prefix);
  struct Loading {
    PrefixKv kv;
    std::vector<float> numbers;  // of kv
  };
  auto loading = std::make_shared<Loading>();
  loading->numbers.assign(prefix.keys.begin(), prefix.keys.end());
  loading->numbers.insert(loading->numbers.end(), prefix.values.begin(), prefix.values.end());
  loading->kv = prefix;
  loading->kv.keys = std::span(loading->numbers).first(prefix.keys.size());
  loading->kv.values = std::span(loading->numbers).last(prefix.values.size());
  Await([=](StepLoop& loop) { loop.LoadPrefix(ref, loading->kv); });
  const std::scoped_lock lock(mutex_);
  num_pinned_ += ref.num_positions;
  prefixes_[static_cast<std::size_t>(ref.id) - 1] = ref.num_positions;
  return ref.id;
}

// ---- the face

Scheduler::Scheduler(std::shared_ptr<Engine> engine, std::shared_ptr<const Clock> clock,
                     const SchedulerOptions& options, std::shared_ptr<Engine> draft)
    : impl_(
          std::make_unique<Impl>(std::move(engine), std::move(clock), options, std::move(draft))) {}
Scheduler::~Scheduler() = default;

void Scheduler::Start() { impl_->Start(); }
void Scheduler::Stop() noexcept { impl_->Stop(); }
void Scheduler::WarmUp() { impl_->WarmUp(); }
bool Scheduler::Step() noexcept { return impl_->Step(); }

SequenceId Scheduler::Open(const SequenceOptions& options) { return impl_->Open(options); }
void Scheduler::RunAll(std::vector<IdAndChain> runs) { impl_->RunAll(std::move(runs)); }
void Scheduler::Run(SequenceId id, std::vector<Phase> chain) {
  std::vector<IdAndChain> runs;
  runs.push_back({id, std::move(chain)});
  RunAll(std::move(runs));
}
void Scheduler::StopThinking(SequenceId id) {
  impl_->Post([=](StepLoop& loop) { loop.StopThinking(id); });
}
void Scheduler::Cancel(SequenceId id) {
  impl_->Post([=](StepLoop& loop) { loop.Cancel(id); });
}
void Scheduler::Close(SequenceId id, bool park) { impl_->Close(id, park); }
PrefixId Scheduler::AddPrefix(const PrefixKv& prefix) { return impl_->AddPrefix(prefix); }
void Scheduler::AddAdapters(ContextKey key, const Adapters& adapters) {
  impl_->AddAdapters(key, adapters);
}

void Scheduler::RestoreLengths(const std::vector<LearnedLength>& lengths) {
  for (const LearnedLength& one : lengths) {
    impl_->lengths().Restore(one.kind, {one.weight, one.mean, one.spread});
  }
}
void Scheduler::RestoreCost(const KnownCost& cost) { impl_->RestoreCost(cost); }
std::vector<LearnedLength> Scheduler::lengths() const {
  std::vector<LearnedLength> lengths;
  for (const auto& [kind, model] : impl_->lengths().all()) {
    const auto [weight, mean, spread] = model.state();
    lengths.push_back({kind, weight, mean, spread});
  }
  return lengths;
}

std::vector<KeptTokens> Scheduler::kept() {
  return impl_->Ask([](StepLoop& loop) { return loop.memory().kv().KeptOfTokens(); });
}
std::vector<std::uint8_t> Scheduler::SaveKept(const KeptTokens& kept) {
  return impl_->Ask([kept](StepLoop& loop) { return loop.memory().kv().Save(kept); });
}
bool Scheduler::RestoreKept(const KeptTokens& kept, std::span<const std::uint8_t> state) {
  auto owned = std::make_shared<std::vector<std::uint8_t>>(state.begin(), state.end());
  return impl_->Ask([kept, owned](StepLoop& loop) {
    return loop.memory().Restore(kept.key, kept.tokens, *owned);
  });
}
std::int32_t Scheduler::NumKept(const KeptTokens& kept) {
  return impl_->Ask([kept](StepLoop& loop) {
    std::vector<ContextItem> items;
    for (const Token token : kept.tokens) items.push_back(ContextItem::OfToken(token));
    return loop.memory().kv().FindKept(kept.key, items).len;
  });
}

std::vector<Event> Scheduler::Take(double timeout_ms, std::size_t max_events) {
  return impl_->Take(timeout_ms, max_events);
}
bool Scheduler::TakeOne(double timeout_ms, Event* event) noexcept {
  return impl_->TakeOne(timeout_ms, event);
}
SchedulerStats Scheduler::stats() const { return impl_->stats(); }
std::string Scheduler::last_error() const { return impl_->last_error(); }
double Scheduler::NowMs() const noexcept { return impl_->NowMs(); }

}  // namespace edgereason
