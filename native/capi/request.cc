#include "request.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "plan.h"
#include "policy/stop.h"

namespace edgereason {

void GrowingText::Add(std::string_view text) noexcept {
  const std::size_t size = size_.load(std::memory_order_relaxed);
  text = text.substr(0, bytes_.size() - size);  // there is room for all that a budget allows
  text.remove_suffix(static_cast<std::size_t>(NumUnfinishedUtf8(text)));
  std::ranges::copy(text, bytes_.data() + size);
  size_.store(size + text.size(), std::memory_order_release);
}

void ChangingText::Set(std::string_view text) noexcept {
  std::uint64_t words[kWords] = {};
  text = text.substr(0, sizeof(words));
  std::ranges::copy(text, reinterpret_cast<char*>(words));  // of nothing, whose address may be null
  version_.fetch_add(1, std::memory_order_acq_rel);
  std::atomic_thread_fence(std::memory_order_release);
  size_.store(static_cast<std::uint32_t>(text.size()), std::memory_order_relaxed);
  for (std::size_t i = 0; i < kWords; ++i) words_[i].store(words[i], std::memory_order_relaxed);
  version_.fetch_add(1, std::memory_order_release);
}

std::size_t ChangingText::Read(char (&text)[Event::kTextBytes]) const noexcept {
  for (;;) {
    const std::uint32_t before = version_.load(std::memory_order_acquire);
    const std::uint32_t size = size_.load(std::memory_order_relaxed);
    std::uint64_t words[kWords];
    for (std::size_t i = 0; i < kWords; ++i) words[i] = words_[i].load(std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_acquire);
    if (before % 2 != 0 || version_.load(std::memory_order_relaxed) != before) continue;
    std::memcpy(text, words, sizeof(words));
    return size;
  }
}

namespace {

// What of an answer's text is the answer.
std::string_view AfterMark(std::string_view text, const Plan& plan) noexcept {
  const std::size_t at = plan.mark.empty() ? text.npos : text.rfind(plan.mark);
  return at == text.npos ? text : text.substr(at + plan.mark.size());
}

// The first thing that ended a phase against the model's will.
er_reason FinishOf(std::span<const std::unique_ptr<PhaseResult>> results) noexcept {
  const auto ended = [&](StopReason reason) {
    return std::ranges::any_of(results, [=](const auto& one) { return one->reason == reason; });
  };
  for (const StopReason reason : {StopReason::kCancelled, StopReason::kRefused}) {
    if (ended(reason)) return static_cast<er_reason>(reason);
  }
  const auto first = std::ranges::find_if(
      results, [](const auto& one) { return one->reason != StopReason::kStop; });
  return first == results.end() ? ER_STOP : static_cast<er_reason>((*first)->reason);
}

std::size_t CopyText(std::string_view from, char* to, std::size_t capacity) noexcept {
  if (capacity == 0) return 0;
  from = from.substr(0, capacity - 1);
  from.remove_suffix(static_cast<std::size_t>(NumUnfinishedUtf8(from)));
  std::ranges::copy(from, to);
  to[from.size()] = '\0';
  return from.size();
}

}  // namespace
}  // namespace edgereason

using edgereason::PhaseResult;

void er_request::Prepare(const edgereason::Plan* of, std::size_t num_bytes) {
  plan = of;
  answer.Reserve(num_bytes);
  final_answer.assign(num_bytes + 1, '\0');
  num_final_bytes = 0;
  probe.Clear();
  results.clear();
  results.resize(of->phases.size());
  num_results.store(0, std::memory_order_release);
  std::ranges::fill(shown, std::size_t{0});
  abandoned = failed = false;
  finish = ER_STOP;
}

void er_request::Add(PhaseResult* result) noexcept {
  const std::size_t at = num_results.load(std::memory_order_relaxed);
  results[at].reset(result);  // a chain has as many results as phases, or fewer
  num_results.store(at + 1, std::memory_order_release);
  std::ranges::fill(shown, std::size_t{0});
}

void er_request::Finish() noexcept {
  const std::size_t num = num_results.load(std::memory_order_relaxed);
  const std::span all = std::span(results).first(num);
  finish = edgereason::FinishOf(all);
  std::string_view text;
  // Where no time or room was left for the answer there is none, or what the last probe heard.
  if (num == results.size() && finish != ER_REFUSED) {
    text = edgereason::Trimmed(edgereason::AfterMark(all.back()->text, *plan));
  }
  for (std::size_t i = num; text.empty() && i > 0; --i) {
    if (all[i - 1]->probe) text = edgereason::Trimmed(*all[i - 1]->probe);
  }
  num_final_bytes = edgereason::CopyText(text, final_answer.data(), final_answer.size());
  state.store(State::kDone, std::memory_order_release);
}

std::size_t er_request::Best(char* text, std::size_t capacity, er_best* where_from) const noexcept {
  if (state.load(std::memory_order_acquire) == State::kDone) {
    *where_from = num_final_bytes > 0 ? ER_BEST_FINAL : ER_BEST_NONE;
    return edgereason::CopyText({final_answer.data(), num_final_bytes}, text, capacity);
  }
  const std::string_view written = edgereason::Trimmed(edgereason::AfterMark(answer.view(), *plan));
  if (!written.empty()) {
    *where_from = ER_BEST_PARTIAL;
    return edgereason::CopyText(written, text, capacity);
  }
  char heard[edgereason::Event::kTextBytes];
  const std::size_t size = probe.Read(heard);
  *where_from = size > 0 ? ER_BEST_PROBE : ER_BEST_NONE;
  return edgereason::CopyText({heard, size}, text, capacity);
}

er_result er_request::Report() const noexcept {
  const std::size_t num = num_results.load(std::memory_order_acquire);
  er_result report{};
  report.answer = final_answer.data();
  report.num_answer_bytes = num_final_bytes;
  report.finish = finish;
  for (const auto& result : std::span(results).first(num)) {
    report.prompt_tokens += result->num_prompt;
    report.cached_tokens += result->num_cached;
    report.think_tokens += result->num_reasoning;
    report.latent_tokens += result->num_latent;
  }
  if (num == 0) return report;
  const PhaseResult& last = *results[num - 1];
  if (num == results.size()) {  // the phase that answers
    const auto num_tokens = static_cast<std::int32_t>(last.tokens.size());
    report.answer_tokens = num_tokens - last.num_reasoning;
    const double sure = std::exp(last.mean_logprob) * std::max(last.mean_margin, 0.0);
    report.confidence = num_tokens > 0 ? std::sqrt(sure) : 0;
  }
  report.queue_ms = results[0]->queue_ms;
  report.total_ms = last.end_ms - arrival_ms;
  if (deadline_ms > 0) report.late_ms = std::max(report.total_ms - deadline_ms, 0.0);
  return report;
}
