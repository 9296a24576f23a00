#include "loop/probes.h"

namespace edgereason {
namespace {

std::string_view Trimmed(std::string_view text) noexcept {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

}  // namespace

bool ProbeRun::Accept(Token token, const Vocab& vocab) noexcept {
  ++num_sampled;
  if (vocab.Ends(token)) return true;
  tokens.push_back(token);
  text += vocab.Piece(token);
  // A line break before any text is only the space after the cue.
  const std::string_view said = Trimmed(text);
  const bool line_over = !said.empty() && text.find('\n', text.find(said)) != std::string::npos;
  return line_over || num_sampled >= owner->phase().probe.tokens;
}

bool Agree(const ProbeRun& probe, Sequence* owner) {
  const std::string_view all = Trimmed(probe.text);
  const std::string_view said = all.substr(0, all.find('\n'));
  Sequence::ProbeState& state = owner->probe;
  const bool same = state.agree > 0 && state.text == said && !said.empty();
  state.agree = same ? state.agree + 1 : 1;
  state.text = said;
  PhaseResult* result = owner->result();
  result->has_probe = true;
  result->probe = said;
  result->num_probe_tokens += probe.num_sampled;
  return !said.empty() && state.agree >= owner->phase().probe.agree;
}

}  // namespace edgereason
