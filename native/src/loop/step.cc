// One step: expire, admit, close thinking in time, plan, decode, commit.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "edgereason/scheduler.h"

namespace edgereason {
namespace {

constexpr double kMeterMs = 100;
constexpr double kArrivalsMs = 10000;  // how far back arrivals say what is to come
constexpr double kStaleMs = 1000;      // without a step for so long, the load may be another
constexpr double kExpireShare = 0.25;  // of its time a request is never given up for a slow step

}  // namespace

bool Scheduler::Step() noexcept {
  const double begin_ms = NowMs();
  if (ApplyCommands()) Publish();
  FlushEnded();
  if (active_.empty() || failed_) return false;
  if (begin_ms - last_step_ms_ > kStaleMs) cost_.ForgetLoad();
  Expire(begin_ms, 1);
  Admit();
  CloseThinkingInTime(begin_ms);
  bool planned = Plan(begin_ms);
  // Who cannot wait for the end of this step is answered before it.
  if (planned && Expire(begin_ms, std::reduce(grants_.begin(), grants_.end()))) {
    planned = Plan(begin_ms);
  }
  if (!planned) {
    Publish();
    FlushEnded();
    return made_room_;
  }
  BuildRows();
  FlushEnded();  // who was answered without this step need not wait for it

  const double decode_begin_ms = NowMs();
  const Status status = DecodeRows();
  const double decode_end_ms = NowMs();
  const double decode_ms = decode_end_ms - decode_begin_ms;
  if (status == Status::kFailed) {
    Fail();
    return false;
  }
  if (status == Status::kNoCells) {
    MakeRoom();
    FlushEnded();
    return true;
  }
  const auto num_rows = static_cast<std::int32_t>(rows_.size());
  const double sampled_before_ms = counters_.sample_ms;
  Commit(decode_begin_ms, decode_end_ms);
  FlushText();
  FlushEnded();
  ++counters_.num_steps;
  counters_.num_rows += num_rows;
  counters_.decode_ms += decode_ms;
  counters_.overhead_ms +=
      NowMs() - begin_ms - decode_ms - (counters_.sample_ms - sampled_before_ms);
  Publish();
  return true;
}

// Decodes rows_, and learns from how long it took.
Status Scheduler::DecodeRows() noexcept {
  const double begin_ms = NowMs();
  const Status status = engine_->Decode(rows_);
  if (status != Status::kOk) return status;
  const double end_ms = NowMs();
  const auto num_rows = static_cast<std::int32_t>(rows_.size());
  std::int64_t cells = 0;
  for (const Row& row : rows_) {
    kv_.Append(row.seq, 1);
    cells += row.pos;
  }
  cost_.Observe(num_rows, cells, end_ms - begin_ms);
  const std::int32_t num_threads = governor_.num_threads();
  if (end_ms >= next_meter_ms_ && info_.max_threads > 1 && options_.num_threads == 0) {
    governor_.SetBusyCores(meter_.BusyCores(), meter_.num_cores());
    next_meter_ms_ = end_ms + kMeterMs;
  }
  if (governor_.Observe(end_ms, num_rows, end_ms - begin_ms) != num_threads) {
    engine_->SetThreads(governor_.num_threads());
    cost_.ForgetLoad();
  }
  last_step_ms_ = end_ms;
  return status;
}

// Ends what cannot wait for a step of `num_rows` rows. True: there was such a request.
bool Scheduler::Expire(double now_ms, std::int32_t num_rows) {
  const double step_ms = cost_.known() ? options_.margin * cost_.StepMs(num_rows) : 0;
  bool any = false;
  for (std::size_t i = 0; i < by_deadline_.size();) {
    Sequence* sequence = by_deadline_[i];
    const double deadline_ms = sequence->options().deadline_ms;
    if (std::isinf(deadline_ms)) break;
    // The prediction may be wrong: with time left a step is worth the try.
    const double share_ms = kExpireShare * (deadline_ms - sequence->options().arrival_ms);
    if (now_ms + std::min(step_ms, share_ms) + options_.delivery_ms > deadline_ms) {
      EndChain(sequence, StopReason::kDeadline, now_ms);
      any = true;
    } else {
      ++i;
    }
  }
  return any;
}

PlanSeq Scheduler::View(const Sequence& sequence) const noexcept {
  const SequenceOptions& options = sequence.options();
  PlanSeq seq{.priority = options.priority,
              .deadline_ms = options.deadline_ms - options_.delivery_ms,
              .blocked = sequence.slot < 0};
  sequence.FillOwed(&seq);
  if (std::isfinite(seq.deadline_ms)) {
    // An answer budget that would eat the whole time leaves half of it to the prompt and to
    // thinking.
    const double half_ms = (options.deadline_ms - options.arrival_ms) / 2;
    const double fits = half_ms / (options_.margin * cost_.StepMs(1));
    seq.owed_steps =
        static_cast<std::int32_t>(std::min<double>(seq.owed_steps, std::max(fits, 1.0)));
  }
  return seq;
}

void Scheduler::CountArrival(const Sequence& sequence, double now_ms) noexcept {
  if (std::isinf(sequence.options().deadline_ms)) return;
  const double kept = std::exp((arriving_at_ms_ - now_ms) / kArrivalsMs);
  arriving_share_ = kept * arriving_share_ + OwedMs(View(sequence), cost_) / kArrivalsMs;
  arriving_at_ms_ = now_ms;
}

// Requests that are still to come, with earlier deadlines, take their share of the time in which an
// answer is owed: of what is left, it takes that much longer.
double Scheduler::Slack(double now_ms) const noexcept {
  const double share = arriving_share_ * std::exp((arriving_at_ms_ - now_ms) / kArrivalsMs);
  return share < 1 ? std::min(1 / (1 - share), options_.most_slack) : options_.most_slack;
}

void Scheduler::CloseThinkingInTime(double now_ms) {
  plan_.clear();
  for (const Sequence* sequence : by_deadline_) {
    if (std::isinf(sequence->options().deadline_ms)) break;
    plan_.push_back(View(*sequence));
  }
  const PlanLimits limits{
      .max_rows = info_.max_rows, .now_ms = now_ms, .margin = options_.margin * Slack(now_ms)};
  const std::int32_t num_close = NumToClose(plan_, cost_, limits);
  // by_deadline_ changes when a phase that was the last ends, so the sequences are taken one by
  // one.
  for (std::int32_t closed = 0, i = 0; closed < num_close; ++closed) {
    Sequence* sequence = by_deadline_[static_cast<std::size_t>(i)];
    if (sequence->thinking()) {
      const auto verdict = sequence->CloseThinking(StopReason::kDeadline);
      if (verdict.ended) EndPhase(sequence, verdict, now_ms);
    }
    const bool still_there = static_cast<std::size_t>(i) < by_deadline_.size() &&
                             by_deadline_[static_cast<std::size_t>(i)] == sequence;
    if (still_there) ++i;
  }
}

bool Scheduler::Plan(double now_ms) {
  made_room_ = false;
  plan_.clear();
  edf_.clear();
  for (Sequence* sequence : active_) {
    sequence->plan_index = static_cast<std::int32_t>(plan_.size());
    plan_.push_back(View(*sequence));
  }
  for (const Sequence* sequence : by_deadline_) {
    if (std::isinf(sequence->options().deadline_ms)) break;
    edf_.push_back(sequence->plan_index);
  }
  grants_.resize(active_.size());
  const PlanLimits limits{.max_rows = info_.max_rows,
                          .now_ms = now_ms,
                          .chunk_ms = options_.chunk_ms,
                          .margin = options_.margin};
  // Where the more urgent lack cells, others go on in those that they have, and free them.
  bool lacks_cells = false;
  while (PlanStep(plan_, edf_, cost_, limits, grants_) > 0) {
    FitCells();
    if (std::ranges::any_of(grants_, [](std::int32_t rows) { return rows > 0; })) return true;
    lacks_cells = true;
  }
  if (lacks_cells) MakeRoom();
  return false;
}

void Scheduler::BuildRows() {
  SweepProbes();
  rows_.clear();
  owners_.clear();
  const auto add = [this](SeqId slot, std::int32_t base, std::span<const Token> tokens,
                          std::int32_t num_decoded, std::int32_t num, RowOwner owner) {
    for (std::int32_t i = 0; i < num; ++i) {
      const std::int32_t at = num_decoded + i;
      const bool last = at + 1 == static_cast<std::int32_t>(tokens.size());
      const float* embedding =
          owner.sequence != nullptr ? owner.sequence->Embedding(at) : owner.probe->Embedding(at);
      rows_.push_back({.seq = slot,
                       .pos = base + at,
                       .token = tokens[static_cast<std::size_t>(at)],
                       .embedding = embedding,
                       .output = last,
                       .logits = owner.sequence == nullptr || !owner.sequence->latent()});
      owners_.push_back(i + 1 == num ? owner : RowOwner{});
    }
  };
  for (std::size_t i = 0; i < active_.size(); ++i) {
    Sequence* sequence = active_[i];
    if (grants_[i] == 0) continue;
    add(sequence->slot, 0, sequence->tokens(), sequence->num_decoded, grants_[i],
        {.sequence = sequence});
  }
  // Probes ride along with their owners where there is room.
  for (const auto& probe : probes_) {
    const auto owner = std::ranges::find(active_, probe->owner);
    const bool runs = grants_[static_cast<std::size_t>(owner - active_.begin())] > 0;
    const std::int32_t num = probe->pending();
    const std::int32_t free = kv_.num_free() - static_cast<std::int32_t>(rows_.size());
    if (!runs || std::ssize(rows_) + num > info_.max_rows || num > free) continue;
    add(probe->slot, probe->base, probe->tokens, probe->num_decoded, num, {.probe = probe.get()});
  }
}

void Scheduler::Commit(double begin_ms, double end_ms) {
  for (std::size_t i = 0; i < owners_.size(); ++i) {
    const auto row = static_cast<std::int32_t>(i);
    if (owners_[i].sequence != nullptr) {
      CommitSequence(owners_[i].sequence, row, begin_ms, end_ms);
    } else if (owners_[i].probe != nullptr) {
      CommitProbe(owners_[i].probe, row);
    }
  }
}

void Scheduler::CommitSequence(Sequence* sequence, std::int32_t row, double begin_ms,
                               double end_ms) {
  const Row& last = rows_[static_cast<std::size_t>(row)];
  sequence->num_decoded = last.pos + 1;
  sequence->CountStep(begin_ms, end_ms);
  if (sequence->pending() > 0) return;
  if (sequence->prefill_only()) {
    EndPhase(sequence, {.ended = true, .reason = StopReason::kBudget}, end_ms);
    return;
  }
  const Sequence::Verdict verdict =
      sequence->latent() ? sequence->AcceptLatent(engine_->Hidden(row)) : SampleNext(sequence, row);
  if (verdict.ended) {
    EndPhase(sequence, verdict, end_ms);
  } else {
    StartProbe(sequence);
  }
}

Sequence::Verdict Scheduler::SampleNext(Sequence* sequence, std::int32_t row) {
  const double begin_ms = NowMs();
  const Sampled sampled = sequence->Sample(&sampler_, engine_->Logits(row));
  counters_.sample_ms += NowMs() - begin_ms;
  ++counters_.num_sampled;
  return sequence->Accept(sampled);
}

void Scheduler::StartProbe(Sequence* sequence) {
  const Probe& rule = sequence->phase().probe;
  if (rule.every <= 0 || !sequence->thinking()) return;
  if (sequence->result()->num_reasoning < sequence->probe.next_at) return;
  const auto mine = [&](const auto& probe) { return probe->owner == sequence; };
  if (std::ranges::any_of(probes_, mine)) return;  // one at a time
  const SeqId slot = kv_.Acquire();
  if (slot < 0) return;
  if (!kv_.Fork(sequence->slot, slot, sequence->num_decoded)) {
    kv_.Release(slot);
    return;
  }
  auto probe = std::make_unique<ProbeRun>();
  probe->owner = sequence;
  probe->slot = slot;
  probe->base = sequence->num_decoded;
  const auto undecoded =
      sequence->tokens().subspan(static_cast<std::size_t>(sequence->num_decoded));
  probe->tokens.assign(undecoded.begin(), undecoded.end());
  if (const float* latent = sequence->Embedding(sequence->num_decoded)) {
    probe->latent.assign(latent, latent + info_.num_embd);
  }
  probe->tokens.insert(probe->tokens.end(), rule.cue.begin(), rule.cue.end());
  probe->tokens.reserve(probe->tokens.size() + static_cast<std::size_t>(rule.tokens));
  sequence->probe.next_at += rule.every;
  probes_.push_back(std::move(probe));
}

void Scheduler::CommitProbe(ProbeRun* probe, std::int32_t row) {
  if (probe->owner == nullptr) return;  // its owner ended in this very step
  probe->num_decoded = static_cast<std::int32_t>(probe->tokens.size());
  static const Sampling kGreedy;
  const Sampled sampled = sampler_.Sample(engine_->Logits(row), kGreedy, {}, 0);
  ++counters_.num_sampled;
  if (!probe->Accept(sampled.token, engine_->vocab())) return;
  Sequence* owner = probe->owner;
  const bool stable = Agree(*probe, owner);
  kv_.Release(probe->slot);
  probe->owner = nullptr;
  if (!stable || !owner->thinking()) return;
  const auto verdict = owner->CloseThinking(StopReason::kStable);
  if (verdict.ended) EndPhase(owner, verdict, NowMs());
}

void Scheduler::SweepProbes() {
  std::erase_if(probes_, [](const auto& probe) { return probe->owner == nullptr; });
}

// Marks the probe of `owner` as over. It stays in the list until the sweep: rows of this step may
// still point to it.
void Scheduler::DropProbe(const Sequence* owner) {
  for (const auto& probe : probes_) {
    if (probe->owner != owner) continue;
    kv_.Release(probe->slot);
    probe->owner = nullptr;
  }
}

void Scheduler::FlushText() {
  Event event;
  for (Sequence* sequence : active_) {
    if (!sequence->options().stream) continue;
    while (sequence->NextText(&event)) {
      if (ring_.Push(event)) continue;
      sequence->TakeBack(event);
      return;
    }
  }
}

void Scheduler::FlushEnded() {
  std::size_t num_sent = 0;
  while (num_sent < ended_.size() && ring_.Push(ended_[num_sent])) ++num_sent;
  ended_.erase(ended_.begin(), ended_.begin() + static_cast<std::ptrdiff_t>(num_sent));
}

void Scheduler::Fail() {
  failed_ = true;
  for (Sequence* sequence : active_) {
    ended_.push_back({.kind = Event::Kind::kFailed, .last = true, .id = sequence->id()});
  }
  active_.clear();
  by_deadline_.clear();
  FlushEnded();
}

void Scheduler::Publish() {
  // Never waits: who reads the figures at this moment gets those of the step before.
  const std::unique_lock lock(stats_mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  stats_ = counters_;
  stats_.load = cost_.load();
  stats_.step_ms = cost_.StepMs(1);
  stats_.num_threads = governor_.num_threads();
  stats_.num_free_cells = kv_.num_free();
  stats_.num_active = static_cast<std::int32_t>(active_.size());
  stats_.num_waiting = static_cast<std::int32_t>(
      std::ranges::count_if(active_, [](const Sequence* s) { return s->slot < 0; }));
  stats_.num_parked = kv_.num_parked();
}

}  // namespace edgereason
