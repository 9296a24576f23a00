// The fields of the records that cross the border to Python, by name: bindings convert by these
// tables, and a test holds them against records.py.
#pragma once

#include <string_view>
#include <tuple>

#include "edgereason/phase.h"
#include "edgereason/sequence_options.h"

namespace edgereason {

template <typename Record, typename Member>
struct Field {
  std::string_view name;
  Member Record::* member;
};
template <typename Record, typename Member>
Field(std::string_view, Member Record::*) -> Field<Record, Member>;

template <typename Record>
inline constexpr auto kFields = std::tuple{};

template <>
inline constexpr auto kFields<Sampling> =
    std::tuple{Field{"temperature", &Sampling::temperature},
               Field{"top_k", &Sampling::top_k},
               Field{"top_p", &Sampling::top_p},
               Field{"min_p", &Sampling::min_p},
               Field{"repetition_penalty", &Sampling::repetition_penalty},
               Field{"presence_penalty", &Sampling::presence_penalty},
               Field{"penalty_window", &Sampling::penalty_window},
               Field{"logit_bias", &Sampling::logit_bias},
               Field{"seed", &Sampling::seed}};

template <>
inline constexpr auto kFields<Probe> = std::tuple{
    Field{"every", &Probe::every}, Field{"cue", &Probe::cue}, Field{"tokens", &Probe::tokens},
    Field{"agree", &Probe::agree}, Field{"sure", &Probe::sure}};

template <>
inline constexpr auto kFields<Loop> =
    std::tuple{Field{"max_period", &Loop::max_period}, Field{"repeats", &Loop::repeats},
               Field{"min_tokens", &Loop::min_tokens}};

template <>
inline constexpr auto kFields<Blend> =
    std::tuple{Field{"top", &Blend::top}, Field{"noise", &Blend::noise},
               Field{"dwell", &Blend::dwell}, Field{"switches", &Blend::switches}};

template <>
inline constexpr auto kFields<Phase> =
    std::tuple{Field{"role", &Phase::role},         Field{"fresh", &Phase::fresh},
               Field{"latent", &Phase::latent},     Field{"retract", &Phase::retract},
               Field{"force", &Phase::force},       Field{"budget", &Phase::budget},
               Field{"soft", &Phase::soft},         Field{"open", &Phase::open},
               Field{"shut", &Phase::shut},         Field{"close", &Phase::close},
               Field{"stop", &Phase::stop},         Field{"owed", &Phase::owed},
               Field{"kind", &Phase::kind},         Field{"brake", &Phase::brake},
               Field{"sampling", &Phase::sampling}, Field{"probe", &Phase::probe},
               Field{"total", &Phase::total},       Field{"call", &Phase::call},
               Field{"logprobs", &Phase::logprobs}, Field{"score_prompt", &Phase::score_prompt},
               Field{"loop", &Phase::loop},         Field{"grammar", &Phase::grammar},
               Field{"blend", &Phase::blend},       Field{"score", &Phase::score}};

template <>
inline constexpr auto kFields<PhaseResult> =
    std::tuple{Field{"reason", &PhaseResult::reason},
               Field{"mark", &PhaseResult::mark},
               Field{"tokens", &PhaseResult::tokens},
               Field{"entropies", &PhaseResult::entropies},
               Field{"scores", &PhaseResult::scores},
               Field{"text", &PhaseResult::text},
               Field{"reasoning", &PhaseResult::reasoning},
               Field{"probe", &PhaseResult::probe},
               Field{"num_reasoning", &PhaseResult::num_reasoning},
               Field{"num_latent", &PhaseResult::num_latent},
               Field{"num_probe_tokens", &PhaseResult::num_probe_tokens},
               Field{"num_steps", &PhaseResult::num_steps},
               Field{"num_drafted", &PhaseResult::num_drafted},
               Field{"num_accepted", &PhaseResult::num_accepted},
               Field{"num_prompt", &PhaseResult::num_prompt},
               Field{"num_cached", &PhaseResult::num_cached},
               Field{"num_cells", &PhaseResult::num_cells},
               Field{"mean_logprob", &PhaseResult::mean_logprob},
               Field{"min_logprob", &PhaseResult::min_logprob},
               Field{"mean_margin", &PhaseResult::mean_margin},
               Field{"mean_entropy", &PhaseResult::mean_entropy},
               Field{"token_scores", &PhaseResult::token_scores},
               Field{"prompt_scores", &PhaseResult::prompt_scores},
               Field{"queue_ms", &PhaseResult::queue_ms},
               Field{"prefill_ms", &PhaseResult::prefill_ms},
               Field{"decode_ms", &PhaseResult::decode_ms}};

template <>
inline constexpr auto kFields<SequenceOptions> =
    std::tuple{Field{"priority", &SequenceOptions::priority},
               Field{"arrival_ms", &SequenceOptions::arrival_ms},
               Field{"deadline_ms", &SequenceOptions::deadline_ms},
               Field{"think_budget", &SequenceOptions::think_budget},
               Field{"stream", &SequenceOptions::stream},
               Field{"context_key", &SequenceOptions::context_key},
               Field{"prefix", &SequenceOptions::prefix}};

// Calls visit(name, member) for each field of `record`.
template <typename Record, typename Visit>
void VisitFields(Record& record, Visit&& visit) {
  std::apply([&](const auto&... field) { (visit(field.name, record.*field.member), ...); },
             kFields<std::remove_const_t<Record>>);
}

}  // namespace edgereason
