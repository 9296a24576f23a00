// The rows of a step: what the plan grants, tokens that are guessed to follow, probes.
#include <algorithm>
#include <cmath>
#include <cstddef>

#include "loop/step_loop.h"

namespace edgereason {

void StepLoop::BuildRows() {
  probes_.Sweep();
  rows_.clear();
  owners_.clear();
  std::int32_t num_guessed = 0;
  // An engine gives so many rows of logits a step; each sequence and each probe has one for itself.
  auto num_scored =
      static_cast<std::int32_t>(info_.max_seqs - std::ssize(order_) - std::ssize(probes_.all()));
  for (std::size_t i = 0; i < order_.size(); ++i) {
    Sequence* sequence = order_[i];
    if (!sequence->running() || sequence->seq < 0) continue;  // ended, or restarted, by the plan
    std::int32_t num = std::min(plan_.grants[i], sequence->pending());
    const bool scores = sequence->scores_prompt();
    if (scores && num > 1) {
      num = std::min(num, 1 + std::max(num_scored, 0));
      num_scored -= num - 1;
    }
    const Context& context = sequence->context();
    for (std::int32_t at = sequence->num_decoded; at < sequence->num_decoded + num; ++at) {
      rows_.push_back({.seq = sequence->seq,
                       .pos = at,
                       .token = context.items()[static_cast<std::size_t>(at)].token(),
                       .embedding = context.Embedding(at),
                       .output = scores || at + 1 == context.size(),
                       .logits = !sequence->latent()});
      owners_.push_back({});
    }
    if (num == 0) continue;
    owners_.back().sequence = sequence;
    if (options_.lookahead > 0) {
      const std::int32_t added = AddGuesses(sequence, num_guessed, num_scored);
      num_guessed += added;
      num_scored -= added;
    }
  }
  AddProbeRows();
}

// Behind the row of `sequence`, the last so far; others have `num_before`, and rows that are planned
// may be still to come. Returns how many, `most` at most.
std::int32_t StepLoop::AddGuesses(Sequence* sequence, std::int32_t num_before, std::int32_t most) {
  std::int32_t num_rows = plan_.num_rows + num_before;
  for (const auto& probe : probes_.all()) num_rows += probe->pending();
  const std::int32_t room = std::min(info_.max_rows, memory_.kv().num_free()) - num_rows;
  most = std::min({most, room, options_.lookahead, kMostAhead, sequence->MostGuesses()});
  if (most <= 0) return 0;
  const std::span guesses = std::span(guesses_).first(static_cast<std::size_t>(most));
  const Guessed found = GuessNext(sequence->context().items(), guesses);
  std::int32_t num = sequence->lookahead.NumWorth(decoder_.cost(), num_rows, found);
  if (num > 0 && !HasTimeFor(num_rows + num)) return 0;
  if (num == 0 && drafter_ != nullptr) num = Draft(*sequence, num_rows, guesses);
  const std::int32_t at = sequence->context().size();
  owners_.back().num_guessed = num;
  for (std::int32_t i = 0; i < num; ++i) {
    rows_.push_back({.seq = sequence->seq,
                     .pos = at + i,
                     .token = guesses_[static_cast<std::size_t>(i)],
                     .output = true});
    owners_.push_back({});
  }
  return num;
}

// Lets the draft model guess, as many as pay. It reads a prompt only once the phase has taken as
// long as that takes: who wants a few tokens does not wait for it.
std::int32_t StepLoop::Draft(Sequence& sequence, std::int32_t num_rows, std::span<Token> guesses) {
  const CostModel& cost = decoder_.cost();
  const Guessed offered{.num = static_cast<std::int32_t>(guesses.size()),
                        .match = kDrafted,
                        .guess_ms = drafter_->guess_ms()};
  const std::int32_t num = sequence.lookahead.NumWorth(cost, num_rows, offered);
  if (num == 0) return 0;  // it rests: what it has read does not matter
  const std::span items = sequence.context().items();
  const std::int32_t num_unread = drafter_->NumUnread(sequence.seq, items);
  if (num_unread == Drafter::kNever) return 0;
  const double read_ms = drafter_->ReadMs(num_unread);
  if (read_ms > sequence.num_sampled() * cost.StepMs(1)) return 0;
  if (!HasTimeFor(num_rows + num, read_ms + num * offered.guess_ms)) return 0;
  const std::int32_t num_drafted =
      drafter_->Draft(sequence.seq, items, guesses.first(static_cast<std::size_t>(num)));
  // Unsure of the very next token: it took its time in vain, as a wrong guess does.
  const bool in_vain = num_drafted == 0 && drafter_->NumUnread(sequence.seq, items) == 1;
  if (in_vain) sequence.lookahead.Learn(1, 0);
  return num_drafted;
}

// A step of so many rows, so long after now, makes nobody late. Where several are due it is not
// looked for: side by side, guesses hardly pay.
bool StepLoop::HasTimeFor(std::int32_t num_rows, double wait_ms) const noexcept {
  if (view_.by_deadline.empty()) return true;
  if (view_.by_deadline.size() > 1) return false;
  const PlanSeq& seq = view_.seqs[static_cast<std::size_t>(view_.by_deadline.front())];
  const PlanLimits limits = Limits(clock_->NowMs());
  const double step_ms = limits.margin * decoder_.cost().StepMs(num_rows);
  return limits.now_ms + wait_ms + step_ms + ClosingMs(seq, limits) <= seq.deadline_ms;
}

// Probes ride along with their owners where there is room.
void StepLoop::AddProbeRows() {
  for (const auto& probe : probes_.all()) {
    const auto owner_runs = [&](const RowOwner& row) { return row.sequence == probe->owner; };
    if (std::ranges::none_of(owners_, owner_runs)) continue;
    const std::int32_t num = probe->pending();
    const std::int32_t num_free = memory_.kv().num_free() - static_cast<std::int32_t>(rows_.size());
    if (std::ssize(rows_) + num > info_.max_rows || num > num_free) continue;
    for (std::int32_t at = probe->num_decoded; at < probe->num_decoded + num; ++at) {
      rows_.push_back({.seq = probe->seq,
                       .pos = probe->base + at,
                       .token = probe->items[static_cast<std::size_t>(at)].token(),
                       .embedding = probe->Embedding(at),
                       .output = at + 1 == std::ssize(probe->items)});
      owners_.push_back({});
    }
    owners_.back().probe = probe.get();
  }
}

}  // namespace edgereason
