#include "loop/step_loop.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <functional>
#include <limits>
#include <new>
#include <tuple>
#include <utility>

#include "loop/checks.h"
#include "policy/demand.h"
#include "policy/finite.h"

namespace edgereason {
namespace {

// Whom nobody could answer in time is refused for the shortest of answers only: a tenth is shorter.
constexpr double kShortAnswers = 0.1;
// Thoughts land within a sentence or two, however much time there was.
constexpr double kLandingSteps = 24;

std::int32_t ParkCells(const SchedulerOptions& options, const EngineInfo& info) {
  return options.park_cells < 0 ? info.num_cells / 8 : options.park_cells;
}

}  // namespace

StepLoop::StepLoop(Engine* engine, const Clock* clock, const SchedulerOptions& options,
                   EventRing* ring, Engine* draft)
    : engine_(engine),
      clock_(clock),
      options_(options),
      info_(engine->info()),
      memory_(engine, &sequences_, ParkCells(options, info_)),
      probes_(&memory_.kv()),
      outbox_(ring),
      phases_(&sequences_, &memory_, &probes_, &outbox_, &lengths_),
      decoder_(engine, clock, &memory_.kv(), options.num_threads, options.thread.cores),
      sampler_(info_.num_vocab) {
  CheckLookahead(options.lookahead, info_);
  if (draft != nullptr) {
    const std::size_t num_tokens = CheckDraft(*engine, *draft, options.lookahead);
    drafter_ = std::make_unique<Drafter>(draft, clock, num_tokens);
  }
  rows_.reserve(static_cast<std::size_t>(info_.max_rows));
  owners_.reserve(static_cast<std::size_t>(info_.max_rows));
  if ((info_.caps & kTokenRows) != 0) {
    mixed_.resize(static_cast<std::size_t>(info_.num_embd));
    token_row_.resize(static_cast<std::size_t>(info_.num_embd));
  }
}

// ---- what goes wrong

namespace {

Fault CurrentFault() noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return Fault::kMemory;
  } catch (...) {
    return Fault::kOther;
  }
}

}  // namespace

template <typename Work>
void StepLoop::Contain(Sequence* sequence, Work work) noexcept {
  try {
    work();
  } catch (...) {
    Break(sequence, CurrentFault());
  }
}

void StepLoop::Break(Sequence* sequence, Fault fault) noexcept {
  phases_.Break(sequence, fault, counters_.num_steps + 1);
}

// ---- the step

bool StepLoop::Step(double begin_ms) noexcept try { return DoStep(begin_ms); } catch (...) {
  // Planning needs more memory than there is: the last that came gives way.
  const auto newest = std::ranges::max_element(sequences_.active(), {}, &Sequence::id);
  if (newest != sequences_.active().end()) Break(*newest, CurrentFault());
  return true;
}

bool StepLoop::DoStep(double begin_ms) {
  outbox_.Flush();
  if (sequences_.active().empty() || failed_) return false;
  decoder_.WakeUp(begin_ms);
  if (drafter_ != nullptr) drafter_->SetThreads(decoder_.num_threads());

  Refuse(begin_ms);
  Admit(begin_ms);
  Plan(begin_ms);
  Apply(begin_ms);
  if (plan_.num_rows == 0) {
    if (plan_.lacks_cells) MakeRoom();
    outbox_.Flush();
    return plan_.lacks_cells;
  }
  if (!KeepOneKey()) return true;
  BuildRows();
  if (drafter_ != nullptr && drafter_->failed()) {
    Fail();
    return false;
  }
  outbox_.Flush();  // who was answered without this step need not wait for it

  const Status status = decoder_.Decode(rows_);
  Prefetch();
  if (status == Status::kFailed) {
    Fail();
    return false;
  }
  if (status == Status::kNoCells) {
    MakeRoom();
    outbox_.Flush();
    return true;
  }
  const double sampled_before_ms = counters_.sample_ms;
  CountInterference();
  CountHeldUp();
  Commit();
  outbox_.FlushText(sequences_.active());
  outbox_.Flush();

  ++counters_.num_steps;
  counters_.num_rows += std::ssize(rows_);
  counters_.decode_ms += decoder_.decode_ms();
  const double took_ms = clock_->NowMs() - begin_ms;
  counters_.overhead_ms +=
      took_ms - decoder_.decode_ms() - (counters_.sample_ms - sampled_before_ms);
  counters_.longest_ms = std::max(counters_.longest_ms, took_ms);
  return true;
}

// Who has not begun and cannot be in time, whatever is done, is told now, and makes room for those
// who can.
void StepLoop::Refuse(double now_ms) {
  const auto by_deadline = sequences_.by_deadline();
  // Alone, a try costs nobody anything.
  if (by_deadline.size() < 2 || std::isinf(by_deadline[1]->options().deadline_ms)) return;
  const CostModel& cost = decoder_.cost();
  if (!cost.has_seen(cost.RowsWithin(options_.chunk_ms, kPrefillRows))) return;
  order_.clear();
  due_.clear();
  may_refuse_.clear();
  for (Sequence* sequence : by_deadline) {
    if (std::isinf(sequence->options().deadline_ms)) break;
    PlanSeq seq = View(*sequence);
    seq.owed_steps = sequence->ExpectedSteps(lengths_, kShortAnswers);
    order_.push_back(sequence);
    due_.push_back(seq);
    may_refuse_.push_back(sequence->untouched() && seq.pending > 1);
  }
  if (std::ranges::count(may_refuse_, 1) < 2) return;
  for (const std::int32_t index : refusals_.Find(due_, may_refuse_, cost, now_ms)) {
    Sequence* sequence = order_[static_cast<std::size_t>(index)];
    Contain(sequence, [&] { phases_.EndChain(sequence, StopReason::kRefused, now_ms); });
  }
}

// Those that wait get KV, the most urgent first; none overtakes a more urgent one.
void StepLoop::Admit(double now_ms) {
  if (std::ranges::none_of(sequences_.active(), [](auto* one) { return one->seq < 0; })) return;
  const PlanLimits limits = Limits(now_ms);
  SortByUrgency();
  for (Sequence* sequence : order_) {
    if (sequence->seq >= 0 || memory_.IsComing(*sequence)) continue;
    if (IsTooLate(View(*sequence), 1, decoder_.cost(), limits)) continue;  // ends in this step
    if (memory_.Admit(sequence)) continue;
    // What was room enough when it came may be held by a new prefix: alone, it will never fit.
    if (!memory_.anyone_has_kv()) phases_.EndChain(sequence, StopReason::kContext, now_ms);
    break;
  }
}

// Its priority, and one level more for each stretch of patience for which more urgent ones held it
// up: else a stream of them would hold it up for ever.
std::int32_t StepLoop::Urgency(const Sequence& sequence) const noexcept {
  const std::int32_t priority = sequence.options().priority;
  if (sequence.held_up_ms == 0) return priority;
  constexpr double kMost = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(
      std::min(priority + std::floor(sequence.held_up_ms / options_.patience_ms), kMost));
}

void StepLoop::SortByUrgency() {
  const auto urgency = [this](const Sequence* sequence) { return Urgency(*sequence); };
  order_.assign(sequences_.active().begin(), sequences_.active().end());
  // Of one priority they are in order, so that there is something to sort only where one has aged.
  if (order_.size() < 2 || std::ranges::is_sorted(order_, std::greater{}, urgency)) return;
  std::ranges::stable_sort(order_, std::greater{}, urgency);
}

void StepLoop::Plan(double now_ms) {
  SortByUrgency();
  view_.Clear();
  for (Sequence* sequence : order_) {
    sequence->plan_index = static_cast<std::int32_t>(view_.seqs.size());
    view_.seqs.push_back(View(*sequence));
    LandSoftly(sequence, view_.seqs.back(), now_ms);
  }
  for (const Sequence* sequence : sequences_.by_deadline()) {
    if (std::isinf(sequence->options().deadline_ms)) break;
    view_.by_deadline.push_back(sequence->plan_index);
  }
  memory_.FillView(&view_);
  PlanStep(&view_, decoder_.cost(), Limits(now_ms), &plan_);
}

// Tells a sequence that thinks under a deadline how much of its time for that is used.
void StepLoop::LandSoftly(Sequence* sequence, const PlanSeq& seq, double now_ms) const noexcept {
  const double since_ms = seq.thinking ? sequence->thinks_since_ms() : -1;
  if (since_ms < 0 || std::isinf(seq.deadline_ms)) return;
  const double limit_ms = seq.deadline_ms - ClosingMs(seq, Limits(now_ms)) - since_ms;
  sequence->SetThinkingTime(now_ms - since_ms, std::max(limit_ms, 1.0),
                            kLandingSteps * decoder_.cost().StepMs(1));
}

// As NumToClose has it: what is owed, and the step that reads the text that ends the thought.
double StepLoop::ClosingMs(const PlanSeq& seq, const PlanLimits& limits) const noexcept {
  const CostModel& cost = decoder_.cost();
  return limits.margin * limits.slack * OwedMs(seq, cost) +
         PrefillMs(std::int64_t{1} + seq.owed_rows, cost);
}

PlanLimits StepLoop::Limits(double now_ms) const noexcept {
  return {.max_rows = info_.max_rows,
          .now_ms = now_ms,
          .chunk_ms = options_.chunk_ms,
          .margin = options_.margin,
          .slack = interference_.Slack(now_ms, options_.most_slack)};
}

PlanSeq StepLoop::View(const Sequence& sequence) const noexcept {
  const SequenceOptions& options = sequence.options();
  PlanSeq seq{.priority = Urgency(sequence),
              .deadline_ms = options.deadline_ms - options_.delivery_ms,
              .given_ms = options.deadline_ms - options.arrival_ms,
              .blocked = sequence.seq < 0,
              .watched = options.stream || std::isfinite(options.deadline_ms)};
  sequence.FillOwed(&seq);
  const bool thinks_on = seq.thinking && seq.pending == 1;
  seq.claimed = seq.blocked ? 0 : seq.claimed + (thinks_on ? 0 : seq.pending);
  if (std::isfinite(seq.deadline_ms)) {
    seq.owed_steps = sequence.ExpectedSteps(lengths_, options_.answer_share);
    // An answer that would eat the whole time leaves half of it to the prompt and to thinking.
    const double fits = seq.given_ms / 2 / (options_.margin * decoder_.cost().StepMs(1));
    seq.owed_steps =
        static_cast<std::int32_t>(std::min<double>(seq.owed_steps, std::max(fits, 1.0)));
  }
  return seq;
}

void StepLoop::Apply(double now_ms) {
  const auto at = [this](std::int32_t index) { return order_[static_cast<std::size_t>(index)]; };
  for (const std::int32_t index : plan_.expire) {
    Contain(at(index), [&] { phases_.EndChain(at(index), StopReason::kDeadline, now_ms); });
  }
  for (const std::int32_t index : plan_.close) {
    Contain(at(index), [&] { phases_.CloseThinking(at(index), StopReason::kDeadline, now_ms); });
  }
  memory_.Evict(plan_.num_evict);
}

// Adapters are a setting of the whole engine, so a step computes rows of one key. Owed work leads,
// the earliest deadline first; otherwise who has waited longest. False: that key stands for nothing.
bool StepLoop::KeepOneKey() {
  if (!has_keys_) return true;
  const auto runs = [&](std::size_t i) {
    return plan_.grants[i] > 0 && order_[i]->running() && order_[i]->seq >= 0;
  };
  const auto rank = [&](std::size_t i) {
    const bool owed = IsOwed(view_.seqs[i]);
    return std::tuple(!owed, owed ? view_.seqs[i].deadline_ms : 0.0, order_[i]->last_step);
  };
  const Sequence* lead = nullptr;
  auto first = rank(0);
  for (std::size_t i = 0; i < order_.size(); ++i) {
    if (!runs(i) || (lead != nullptr && rank(i) >= first)) continue;
    lead = order_[i];
    first = rank(i);
  }
  if (lead == nullptr) return true;
  const ContextKey key = lead->context().key();
  const bool known = engine_->Use(key);
  for (std::size_t i = 0; i < order_.size(); ++i) {
    const bool same = order_[i]->context().key() == key;
    if (!same) plan_.grants[i] = 0;
    if (same && !known && runs(i)) Break(order_[i], Fault::kOther);
    if (plan_.grants[i] > 0) order_[i]->last_step = counters_.num_steps + 1;
  }
  return known;
}

// A decode leaves nothing in the caches. What is asked for at once comes side by side; what is
// reached by pointers, once these are there.
void StepLoop::Prefetch() const noexcept {
  for (const Sequence* sequence : order_) sequence->Prefetch(0);
  for (const Sequence* sequence : order_) sequence->Prefetch(1);
  for (const Sequence* sequence : order_) sequence->Prefetch(2);
}

// What the owed work of this step took from those that came earlier and are due later.
void StepLoop::CountInterference() noexcept {
  if (view_.by_deadline.size() < 2) {
    interference_.Count(decoder_.end_ms(),
                        decoder_.decode_ms() * static_cast<double>(view_.by_deadline.size()), 0);
    return;
  }
  double taken_rows = 0;
  for (const std::int32_t index : view_.by_deadline) {
    const auto i = static_cast<std::size_t>(index);
    if (plan_.grants[i] == 0 || !IsOwed(view_.seqs[i])) continue;
    for (const std::int32_t other : view_.by_deadline) {
      const auto j = static_cast<std::size_t>(other);
      const bool loses = order_[j]->id() < order_[i]->id() &&
                         view_.seqs[j].deadline_ms > view_.seqs[i].deadline_ms;
      if (loses) taken_rows += plan_.grants[i];
    }
  }
  const double row_ms = decoder_.decode_ms() / static_cast<double>(rows_.size());
  interference_.Count(decoder_.end_ms(),
                      decoder_.decode_ms() * static_cast<double>(view_.by_deadline.size()),
                      taken_rows * row_ms);
}

// By those of a higher priority. Equals have their turn in order of arrival: one that rose above the
// rest would not be served sooner, and they would stand still.
void StepLoop::CountHeldUp() noexcept {
  std::int32_t top = std::numeric_limits<std::int32_t>::min();
  for (std::size_t i = 0; i < order_.size(); ++i) {
    if (plan_.grants[i] > 0) top = std::max(top, order_[i]->options().priority);
  }
  for (std::size_t i = 0; i < order_.size(); ++i) {
    const bool waits = plan_.grants[i] == 0 && order_[i]->options().priority < top;
    if (waits) order_[i]->held_up_ms += decoder_.decode_ms();
  }
}

void StepLoop::Commit() {
  for (std::size_t i = 0; i < owners_.size(); ++i) {
    const auto row = static_cast<std::int32_t>(i);
    Sequence* sequence = owners_[i].sequence;
    ProbeRun* probe = owners_[i].probe;
    if (sequence != nullptr && sequence->running()) {
      Contain(sequence, [&] { CommitSequence(sequence, row, owners_[i].num_guessed); });
    } else if (probe != nullptr && probe->owner != nullptr) {
      Contain(probe->owner, [&] { CommitProbe(probe, row); });
    }
  }
}

void StepLoop::CommitSequence(Sequence* sequence, std::int32_t row, std::int32_t num_guessed) {
  sequence->num_decoded = rows_[static_cast<std::size_t>(row)].pos + 1;
  sequence->CountStep(decoder_.begin_ms(), decoder_.end_ms());
  if (sequence->scores_prompt() && !ScorePrompt(sequence, row)) {
    return Break(sequence, Fault::kNumbers);
  }
  if (sequence->pending() > 0) return;
  if (sequence->phase().role == Role::kPrefill) {
    if (!sequence->Score(engine_->Logits(row))) return Break(sequence, Fault::kNumbers);
    return CommitVerdict(sequence, {.ended = true, .reason = StopReason::kBudget});
  }
  if (sequence->latent()) {
    const std::span<const float> hidden = engine_->Hidden(row);
    if (!AreFinite(hidden)) return Break(sequence, Fault::kNumbers);
    return CommitVerdict(sequence, sequence->AcceptLatent(hidden));
  }
  Sequence::Verdict verdict = CommitSample(sequence, row);
  // As long as what was sampled is what was guessed, the next row is that of the next token.
  std::int32_t num_right = 0;
  const auto was_guessed = [&](std::int32_t next) {
    return !verdict.ended && !sequence->broken && sequence->pending() == 1 &&
           sequence->context().items().back().token() ==
               rows_[static_cast<std::size_t>(next)].token;
  };
  while (num_right < num_guessed && was_guessed(row + num_right + 1)) {
    ++num_right;
    ++sequence->num_decoded;
    verdict = CommitSample(sequence, row + num_right);
  }
  if (sequence->broken) return;
  if (num_guessed > 0) {
    sequence->CountGuesses(num_guessed, num_right);
    memory_.Trim(sequence, sequence->num_decoded);
  }
  CommitVerdict(sequence, verdict);
}

// Samples behind `row`, whose logits are those of all that is decoded.
Sequence::Verdict StepLoop::CommitSample(Sequence* sequence, std::int32_t row) {
  if (!sequence->Prepare()) return {.ended = true, .reason = StopReason::kBudget};
  const Sampled sampled = SampleNext(sequence, engine_->Logits(row));
  if (sampled.token != kNoToken) return sequence->Accept(sampled, Mixed(sampled.blend));
  Break(sequence, Fault::kNumbers);
  return {.ended = true};
}

// The embedding that a blend is fed as; empty where it is one token.
std::span<const float> StepLoop::Mixed(std::span<const Weighted> blend) {
  if (blend.size() < 2) return {};
  mixed_.assign(mixed_.size(), 0);
  for (const auto& [token, weight] : blend) {
    if (!engine_->Embed(token, token_row_)) {
      throw Error(ErrorCode::kEngine, "the embedding of a token cannot be read");
    }
    for (std::size_t i = 0; i < mixed_.size(); ++i) mixed_[i] += weight * token_row_[i];
  }
  return mixed_;
}

// `row` is the last of its rows, which stand together.
bool StepLoop::ScorePrompt(Sequence* sequence, std::int32_t row) {
  std::int32_t first = row;
  while (first > 0 && rows_[static_cast<std::size_t>(first) - 1].seq == sequence->seq) --first;
  for (std::int32_t i = first; i <= row; ++i) {
    const Pos at = rows_[static_cast<std::size_t>(i)].pos;
    if (!sequence->ScorePrompt(at, engine_->Logits(i))) return false;
  }
  return true;
}

void StepLoop::CommitVerdict(Sequence* sequence, const Sequence::Verdict& verdict) {
  if (verdict.ended) {
    phases_.End(sequence, verdict, decoder_.end_ms());
  } else {
    probes_.MayStart(sequence, info_.num_embd);
  }
}

Sampled StepLoop::SampleNext(Sequence* sequence, std::span<const float> logits) {
  const double begin_ms = clock_->NowMs();
  const Sampled sampled = sequence->Sample(&sampler_, logits);
  counters_.sample_ms += clock_->NowMs() - begin_ms;
  ++counters_.num_sampled;
  return sampled;
}

void StepLoop::CommitProbe(ProbeRun* probe, std::int32_t row) {
  Sequence* owner = probe->owner;
  probe->num_decoded = static_cast<std::int32_t>(probe->items.size());
  static const Sampling kGreedy;
  const Sampled sampled = sampler_.Sample(engine_->Logits(row), kGreedy, {}, 0);
  ++counters_.num_sampled;
  if (sampled.token == kNoToken) return Break(owner, Fault::kNumbers);
  const bool ends = probes_.Accept(probe, sampled, engine_->vocab());
  if (probe->owner == nullptr && owner->options().tell_probes) {
    outbox_.Probed(owner->id(), owner->probe.text);
  }
  if (!ends) return;
  phases_.CloseThinking(owner, StopReason::kStable, clock_->NowMs());
}

// Nothing could run for want of cells: the least urgent sequence stops thinking, or ends.
void StepLoop::MakeRoom() {
  if (memory_.EvictOne() || probes_.DropNewest()) return;
  const double now_ms = clock_->NowMs();
  const auto active = sequences_.active();
  for (auto it = active.rbegin(); it != active.rend(); ++it) {
    Sequence* sequence = *it;
    if (sequence->seq < 0) continue;
    if (sequence->thinking()) {
      phases_.CloseThinking(sequence, StopReason::kContext, now_ms);
    } else {
      phases_.EndChain(sequence, StopReason::kContext, now_ms);
    }
    return;
  }
}

void StepLoop::Fail() {
  failed_ = true;
  while (!sequences_.active().empty()) {
    Break(sequences_.active().front(), Fault::kEngine);
  }
  outbox_.Flush();
}

// ---- what callers ask for

void StepLoop::Open(SequenceId id, const SequenceOptions& options, PrefixRef prefix) noexcept try {
  if (options.context_key != 0) has_keys_ = true;
  outbox_.Reserve(sequences_.all().size() + 1);
  sequences_.Add(
      std::make_unique<Sequence>(id, options, prefix, &engine_->vocab(), info_.num_cells));
} catch (...) {
  outbox_.Failed(id, CurrentFault(), counters_.num_steps + 1);
}

void StepLoop::Run(SequenceId id, std::vector<Phase> chain) noexcept {
  Sequence* sequence = sequences_.Find(id);
  if (sequence == nullptr) return;
  Contain(sequence, [&] { phases_.Run(sequence, std::move(chain), clock_->NowMs()); });
}

void StepLoop::StopThinking(SequenceId id) noexcept {
  Sequence* sequence = sequences_.Find(id);
  if (sequence == nullptr) return;
  sequence->interrupted = true;
  Contain(sequence,
          [&] { phases_.CloseThinking(sequence, StopReason::kInterrupted, clock_->NowMs()); });
}

void StepLoop::Cancel(SequenceId id) noexcept {
  Sequence* sequence = sequences_.Find(id);
  if (sequence == nullptr) return;
  Contain(sequence, [&] { phases_.EndChain(sequence, StopReason::kCancelled, clock_->NowMs()); });
  memory_.Release(sequence);
}

void StepLoop::Close(SequenceId id, bool park) noexcept {
  Sequence* sequence = sequences_.Find(id);
  if (sequence == nullptr) return;
  Contain(sequence, [&] {
    phases_.EndChain(sequence, StopReason::kCancelled, clock_->NowMs());
    memory_.Forget(sequence, park);
  });
  sequences_.Remove(sequence);
}

SchedulerStats StepLoop::stats() noexcept {
  SchedulerStats stats = counters_;
  stats.load = decoder_.cost().load();
  stats.step_ms = decoder_.cost().StepMs(1);
  stats.num_threads = decoder_.num_threads();
  stats.num_free_cells = memory_.kv().num_free();
  stats.num_active = static_cast<std::int32_t>(sequences_.active().size());
  stats.num_waiting = static_cast<std::int32_t>(
      std::ranges::count_if(sequences_.active(), [](const Sequence* s) { return s->seq < 0; }));
  stats.num_parked = memory_.kv().num_parked();
  return stats;
}

}  // namespace edgereason
