// The outside of the scheduler: its thread, what callers ask for, and the life of a request. The
// steps are in step.cc.
#include "edgereason/scheduler.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <future>
#include <iterator>
#include <string>

namespace edgereason {
namespace {

constexpr double kIdleWaitMs = 100;
constexpr double kBlockedWaitMs = 5;  // somebody waits, and may have a deadline

std::int32_t ParkCells(const SchedulerOptions& options, const EngineInfo& info) {
  if ((info.caps & kFork) == 0) return 0;
  return options.park_cells < 0 ? info.num_cells / 8 : options.park_cells;
}

[[noreturn]] void ThrowUsage(const std::string& message, const std::string& hint = {}) {
  throw Error(ErrorCode::kUsage, message, hint);
}

void CheckTokens(const std::vector<Token>& tokens, const EngineInfo& info) {
  for (const Token token : tokens) {
    if (token >= 0 && token < info.num_vocab) continue;
    ThrowUsage("token " + std::to_string(token) + " is outside the vocabulary of " +
               std::to_string(info.num_vocab) + " tokens");
  }
}

// A prompt may begin with slots of prefixes that are there.
void CheckPrompt(const std::vector<Token>& prompt, Token slots_end, const EngineInfo& info) {
  const auto rest = std::ranges::find_if(
      prompt, [&](Token token) { return !IsSlot(token) || token <= slots_end; });
  CheckTokens({rest, prompt.end()}, info);
}

void CheckPhase(const Phase& phase, Token slots_end, const EngineInfo& info) {
  CheckTokens(phase.force, info);
  CheckTokens(phase.close, info);
  CheckTokens(phase.probe.cue, info);
  if (phase.fresh) CheckPrompt(*phase.fresh, slots_end, info);
  if (phase.fresh && std::ranges::all_of(*phase.fresh, IsSlot) && phase.force.empty()) {
    ThrowUsage("a phase cannot start from an empty prompt");
  }
  if (phase.budget < kUnlimited) {
    ThrowUsage("phase budget must be -1 or more, got " + std::to_string(phase.budget));
  }
  if (phase.latent < 0) {
    ThrowUsage("latent steps must be 0 or more, got " + std::to_string(phase.latent));
  }
  if (phase.latent > 0 && phase.channel != Channel::kReasoning) {
    ThrowUsage("latent steps are thinking: they cannot be in an answer phase");
  }
  if (phase.latent > 0 && (~info.caps & (kEmbedIn | kHiddenOut)) != 0) {
    throw Error(ErrorCode::kUnsupported,
                "latent steps need an engine that takes embeddings and gives hidden states");
  }
  for (const LogitBias& bias : phase.sampling.bias) CheckTokens({bias.token}, info);
  if (phase.probe.every > 0 && (info.caps & kFork) == 0) {
    throw Error(ErrorCode::kUnsupported, "probes need an engine that can fork a sequence");
  }
}

bool MoreUrgent(const Sequence* a, const Sequence* b) noexcept {
  const SequenceOptions& x = a->options();
  const SequenceOptions& y = b->options();
  if (x.priority != y.priority) return x.priority > y.priority;
  if (x.deadline_ms != y.deadline_ms) return x.deadline_ms < y.deadline_ms;
  if (x.arrival_ms != y.arrival_ms) return x.arrival_ms < y.arrival_ms;
  return a->id() < b->id();
}

bool DueEarlier(const Sequence* a, const Sequence* b) noexcept {
  const double x = a->options().deadline_ms;
  const double y = b->options().deadline_ms;
  return x != y ? x < y : a->id() < b->id();
}

}  // namespace

Scheduler::Scheduler(std::shared_ptr<Engine> engine, std::shared_ptr<const Clock> clock,
                     const SchedulerOptions& options)
    : engine_(std::move(engine)),
      clock_(std::move(clock)),
      options_(options),
      info_(engine_->info()),
      kv_(engine_.get(), ParkCells(options, info_)),
      governor_(info_.max_threads, options.num_threads),
      sampler_(info_.num_vocab) {
  if (options.num_threads < 0 || options.num_threads > info_.max_threads) {
    ThrowUsage("threads must be 0 (follow the load) to " + std::to_string(info_.max_threads) +
               ", the cores this process may use, got " + std::to_string(options.num_threads));
  }
  engine_->SetThreads(governor_.num_threads());
  rows_.reserve(static_cast<std::size_t>(info_.max_rows));
  owners_.reserve(static_cast<std::size_t>(info_.max_rows));
}

Scheduler::~Scheduler() { Stop(); }

void Scheduler::Start() {
  if (thread_.joinable()) return;
  std::promise<void> warm;
  std::future<void> done = warm.get_future();
  // Warm-up belongs to the thread that decodes: an OpenMP library keeps a pool for each thread that
  // computes, and holds its threads back once there are more of them than cores.
  thread_ = std::thread([this, warm = std::move(warm)]() mutable {
    try {
      WarmUp();
    } catch (...) {
      return warm.set_exception(std::current_exception());
    }
    warm.set_value();
    Loop();
  });
  done.get();
}

void Scheduler::Stop() noexcept {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  ring_.Wake();
  if (thread_.joinable()) thread_.join();
}

void Scheduler::Loop() noexcept {
  while (!stopping_) {
    if (Step()) continue;
    const bool idle = active_.empty() && ended_.empty();
    std::unique_lock lock(mutex_);
    work_.wait_for(lock,
                   std::chrono::duration<double, std::milli>(idle ? kIdleWaitMs : kBlockedWaitMs),
                   [this] { return stopping_ || !commands_.empty(); });
  }
}

void Scheduler::WarmUp() {
  governor_.SetBusyCores(meter_.BusyCores(), meter_.num_cores());
  const SeqId slot = kv_.Acquire();
  std::int32_t pos = 0;
  // Twice: the first round touches memory for the first time.
  for (const std::int32_t num : {1, 4, 16, 1, 2, 4, 16}) {
    if (num > info_.max_rows || pos + num > info_.num_cells) break;
    rows_.clear();
    for (std::int32_t i = 0; i < num; ++i) {
      rows_.push_back({.seq = slot, .pos = pos + i, .token = 0, .output = i == num - 1});
    }
    if (DecodeRows() != Status::kOk) {
      throw Error(ErrorCode::kEngine, "the engine failed its warm-up: " + engine_->last_error());
    }
    pos += num;
    if (pos == 21) cost_ = CostModel();
  }
  rows_.clear();
  kv_.Release(slot);
}

RequestId Scheduler::Open(const SequenceOptions& options) {
  if (std::isnan(options.deadline_ms))
    ThrowUsage("deadline must be a number of milliseconds, got nan");
  if (options.think_budget < kUnlimited) {
    ThrowUsage("think budget must be -1 or more, got " + std::to_string(options.think_budget),
               "-1 is no limit, 0 is no thinking");
  }
  RequestId id = 0;
  {
    const std::scoped_lock lock(mutex_);
    id = next_id_++;
    open_ids_.insert(id);
  }
  Post({{.kind = Command::Kind::kOpen, .id = id, .options = options}});
  return id;
}

void Scheduler::CheckFits(const std::vector<Phase>& chain) const {
  std::int64_t length = 0;
  std::int64_t latent = 0;
  std::int64_t owed = 0;
  const std::int64_t unpinned = info_.num_cells - (kFirstSlotToken - slots_end_);
  std::int64_t room = unpinned;
  for (const Phase& phase : chain) {
    if (phase.fresh) {
      length = std::ssize(*phase.fresh);
      room = unpinned + std::ranges::count_if(*phase.fresh, IsSlot);
      latent = 0;
    }
    latent += phase.budget < 0 ? phase.latent : std::min(phase.latent, phase.budget);
    length += std::ssize(phase.force) + std::ssize(phase.close);
    owed = phase.owed;
    if (phase.channel == Channel::kAnswer) {
      length += std::max(phase.budget, 0);
    }
  }
  length += latent;
  if (length + owed <= room) return;
  std::int64_t prompt = 0;
  for (const Phase& phase : chain) {
    if (phase.fresh) prompt = std::ssize(*phase.fresh);
  }
  const std::string steps =
      latent > 0 ? " tokens, " + std::to_string(latent) + " latent steps follow" : " tokens";
  throw Error(
      ErrorCode::kContextFull,
      "the prompt has " + std::to_string(prompt) + steps + " and the answer is owed " +
          std::to_string(length + owed - prompt - latent) + " more, but the context holds " +
          std::to_string(room),
      "shorten the prompt, lower the answer budget, or open the model with a larger context");
}

void Scheduler::CheckRun(RequestId id, const std::vector<Phase>& chain) const {
  if (chain.empty()) ThrowUsage("a run needs at least one phase");
  for (const Phase& phase : chain) CheckPhase(phase, slots_end_, info_);
  CheckFits(chain);
  if (failed_) {
    throw Error(ErrorCode::kEngine, "the engine has failed before", "open the model anew");
  }
  const std::scoped_lock lock(mutex_);
  if (!open_ids_.contains(id)) ThrowUsage("request " + std::to_string(id) + " is not open");
}

void Scheduler::Run(RequestId id, std::vector<Phase> chain) {
  std::vector<IdAndChain> runs;
  runs.push_back({id, std::move(chain)});
  RunAll(std::move(runs));
}

void Scheduler::RunAll(std::vector<IdAndChain> runs) {
  for (const IdAndChain& run : runs) CheckRun(run.id, run.chain);
  std::vector<Command> commands;
  for (IdAndChain& run : runs) {
    commands.push_back({.kind = Command::Kind::kRun, .id = run.id, .chain = std::move(run.chain)});
  }
  Post(std::move(commands));
}

void Scheduler::StopThinking(RequestId id) {
  Post({{.kind = Command::Kind::kStopThinking, .id = id}});
}

void Scheduler::Cancel(RequestId id) { Post({{.kind = Command::Kind::kCancel, .id = id}}); }

void Scheduler::Close(RequestId id, bool park) {
  {
    const std::scoped_lock lock(mutex_);
    if (open_ids_.erase(id) == 0) return;
  }
  Post({{.kind = park ? Command::Kind::kPark : Command::Kind::kClose, .id = id}});
}

Token Scheduler::AddPrefix(const PrefixKv& prefix) {
  const auto size = static_cast<std::size_t>(std::int64_t{prefix.num_layers} * prefix.num_kv_heads *
                                             prefix.num_slots * prefix.head_dim);
  if (size == 0 || prefix.keys.size() != size || prefix.values.size() != size) {
    ThrowUsage("keys and values of a prefix must be [layers, kv_heads, slots, head_dim]");
  }
  if ((~info_.caps & (kPrefixKv | kFork)) != 0) {
    throw Error(ErrorCode::kUnsupported, "prefixes need an engine that takes KV and can fork");
  }
  if (!thread_.joinable()) return LoadPrefix(prefix);
  auto added = std::make_shared<NewPrefix>();
  added->numbers.assign(prefix.keys.begin(), prefix.keys.end());
  added->numbers.insert(added->numbers.end(), prefix.values.begin(), prefix.values.end());
  added->kv = prefix;
  added->kv.keys = std::span(added->numbers).first(size);
  added->kv.values = std::span(added->numbers).last(size);
  std::future<Token> first = added->first.get_future();
  Post({{.kind = Command::Kind::kPrefix, .prefix = added}});
  // The thread may have ended before it saw the command.
  while (first.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
    if (stopping_) throw Error(ErrorCode::kEngine, "the model was closed");
  }
  return first.get();
}

// They are applied in one go, before the same step.
void Scheduler::Post(std::vector<Command> commands) {
  {
    const std::scoped_lock lock(mutex_);
    std::ranges::move(commands, std::back_inserter(commands_));
    has_commands_ = true;
  }
  work_.notify_one();
}

SchedulerStats Scheduler::stats() const {
  const std::scoped_lock lock(stats_mutex_);
  return stats_;
}

// ---- native thread from here on
// --------------------------------------------------------------------------------------

Sequence* Scheduler::Find(RequestId id) {
  const auto found = sequences_.find(id);
  return found == sequences_.end() ? nullptr : found->second.get();
}

bool Scheduler::ApplyCommands() {
  if (!has_commands_) return false;
  std::vector<Command> commands;
  {
    const std::scoped_lock lock(mutex_);
    commands.swap(commands_);
    has_commands_ = false;
  }
  for (Command& command : commands) Apply(&command);
  return true;
}

Token Scheduler::LoadPrefix(const PrefixKv& prefix) {
  // One slot more stays free, for requests.
  if (kv_.num_pinned() + 2 > info_.max_seqs) {
    throw Error(ErrorCode::kContextFull,
                "all " + std::to_string(info_.max_seqs) + " sequences are held by prefixes",
                "open the model for more sequences, or fewer prefixes");
  }
  if (std::int64_t{prefix.num_slots} + 1 > kv_.num_unpinned()) {
    throw Error(ErrorCode::kContextFull,
                "the prefix has " + std::to_string(prefix.num_slots) + " slots, the context has " +
                    std::to_string(kv_.num_unpinned()) + " cells for it and for requests",
                "open the model with a larger context");
  }
  SeqId slot = kv_.Acquire();
  while (slot < 0 && EvictOne()) slot = kv_.Acquire();
  while (slot >= 0 && kv_.num_free() <= prefix.num_slots && EvictOne()) {
  }
  if (slot < 0 || kv_.num_free() <= prefix.num_slots) {
    if (slot >= 0) kv_.Release(slot);
    throw Error(ErrorCode::kContextFull, "requests that run leave no room for a prefix",
                "load it before, with Reasoner.open(prefixes=...), or try again");
  }
  try {
    engine_->LoadPrefix(slot, prefix);
  } catch (...) {
    kv_.Release(slot);
    throw;
  }
  std::vector<Token> tokens(static_cast<std::size_t>(prefix.num_slots));
  for (Token& token : tokens) token = next_slot_--;
  kv_.Append(slot, prefix.num_slots);
  kv_.Pin(slot, tokens);
  slots_end_ = next_slot_;
  return tokens.front();
}

void Scheduler::Apply(Command* command) {
  if (command->kind == Command::Kind::kPrefix) {
    try {
      command->prefix->first.set_value(LoadPrefix(command->prefix->kv));
    } catch (...) {
      command->prefix->first.set_exception(std::current_exception());
    }
    return;
  }
  if (command->kind == Command::Kind::kOpen) {
    sequences_.emplace(command->id, std::make_unique<Sequence>(command->id, command->options,
                                                               &engine_->vocab(), info_.num_cells));
    return;
  }
  Sequence* sequence = Find(command->id);
  if (sequence == nullptr) return;  // closed in the meantime
  const double now_ms = NowMs();
  switch (command->kind) {
    case Command::Kind::kRun:
      sequence->Enqueue(std::move(command->chain), now_ms);
      if (!sequence->running()) {
        Activate(sequence);
        Advance(sequence, now_ms);
        if (sequence->running()) CountArrival(*sequence, now_ms);
      }
      break;
    case Command::Kind::kStopThinking:
      sequence->interrupted = true;
      if (sequence->thinking()) {
        const auto verdict = sequence->CloseThinking(StopReason::kInterrupted);
        if (verdict.ended) EndPhase(sequence, verdict, now_ms);
      }
      break;
    case Command::Kind::kCancel:
      EndChain(sequence, StopReason::kCancelled, now_ms);
      ReleaseKv(sequence);
      break;
    case Command::Kind::kClose:
    case Command::Kind::kPark:
      EndChain(sequence, StopReason::kCancelled, now_ms);
      Forget(sequence, command->kind == Command::Kind::kPark);
      break;
    case Command::Kind::kOpen:
    case Command::Kind::kPrefix:
      break;
  }
}

void Scheduler::Activate(Sequence* sequence) {
  active_.insert(std::ranges::upper_bound(active_, sequence, MoreUrgent), sequence);
  by_deadline_.insert(std::ranges::upper_bound(by_deadline_, sequence, DueEarlier), sequence);
}

void Scheduler::Deactivate(Sequence* sequence) {
  std::erase(active_, sequence);
  std::erase(by_deadline_, sequence);
}

void Scheduler::Forget(Sequence* sequence, bool park) {
  if (park && sequence->num_decoded > 0) {
    kv_.Park(sequence->slot,
             sequence->tokens().first(static_cast<std::size_t>(sequence->num_decoded)));
  } else {
    if (std::isfinite(sequence->options().deadline_ms)) ParkBeginning(sequence);
    ReleaseKv(sequence);
  }
  sequences_.erase(sequence->id());
}

// Starts phases until one needs the engine, or none is left.
void Scheduler::Advance(Sequence* sequence, double now_ms) {
  while (!sequence->running() && sequence->has_next()) {
    const std::int32_t keep = sequence->Begin();
    if (sequence->slot >= 0) sequence->num_decoded = kv_.Trim(sequence->slot, keep);
    // Slots of a prefix are never decoded: they come by a fork, on admission.
    if (sequence->num_decoded < sequence->num_slots()) ReleaseKv(sequence);
    if (sequence->ends_at_once()) {
      EndPhase(sequence, {.ended = true, .reason = StopReason::kBudget}, now_ms);
    } else if (sequence->interrupted && sequence->thinking()) {
      EndPhase(sequence, {.ended = true, .reason = StopReason::kInterrupted}, now_ms);
    }
  }
}

void Scheduler::EndPhase(Sequence* sequence, const Sequence::Verdict& verdict, double now_ms) {
  DropProbe(sequence);
  Event event{.kind = Event::Kind::kPhaseEnd, .id = sequence->id()};
  event.result = sequence->End(verdict, now_ms).release();
  event.last = !sequence->has_next();
  ended_.push_back(event);
  if (event.last) {
    Deactivate(sequence);
  } else {
    Advance(sequence, now_ms);
  }
}

void Scheduler::EndChain(Sequence* sequence, StopReason reason, double now_ms) {
  sequence->ClearChain();
  if (sequence->running()) EndPhase(sequence, {.ended = true, .reason = reason}, now_ms);
}

// It may still be run again, and is then decoded anew.
void Scheduler::ReleaseKv(Sequence* sequence) {
  if (sequence->slot < 0) return;
  kv_.Release(sequence->slot);
  sequence->slot = -1;
  sequence->num_decoded = 0;
}

}  // namespace edgereason
