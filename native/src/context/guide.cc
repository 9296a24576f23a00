#include "context/guide.h"

#include <algorithm>
#include <utility>

#include "policy/closing.h"
#include "policy/token_table.h"

namespace edgereason {

Guide::Guide(std::shared_ptr<Grammar> grammar, std::int32_t budget)
    : grammar_(std::move(grammar)), mask_(MaskWords(grammar_->tokens().num_vocab())) {
  plan_ = Valid(json_, {});
  if (!plan_.Fits(budget) && grammar_->is_json()) plan_ = Parsable(json_, budget);
}

bool Guide::Prepare() noexcept {
  return grammar_->FillMask(mask_) &&
         std::ranges::any_of(mask_, [](std::uint32_t word) { return word != 0; });
}

bool Guide::Accept(Token token, std::int32_t left) {
  if (!grammar_->Accept(token)) return false;
  const std::string_view piece = grammar_->tokens().Piece(token);
  JsonText json = json_;
  if (grammar_->is_json()) json.Feed(piece);
  Plan next = Valid(json, piece);
  if (!next.Fits(left - 1)) {
    if (next.is_known && plan_.is_valid) return false;
    next = grammar_->is_json() ? Parsable(json, left - 1) : Plan{};
    if (grammar_->is_json() && !next.Fits(left - 1) && plan_.is_known) return false;
  }
  json_ = std::move(json);
  plan_ = std::move(next);
  is_whole_ = grammar_->MayEnd();
  return true;
}

std::span<const Token> Guide::Ending() const noexcept {
  if (is_whole_ || !plan_.is_known) return {};
  return plan_.tokens;
}

Guide::Plan Guide::PlanOf(std::optional<std::string> text, bool is_valid) const {
  if (!text) return {};
  std::optional<std::vector<Token>> tokens = grammar_->tokens().Tokens(*text);
  if (!tokens) return {};
  return {std::move(*text), std::move(*tokens), true, is_valid};
}

// How the text can end under the grammar, behind `piece`, which came last. What was planned before
// it mostly still holds.
Guide::Plan Guide::Valid(const JsonText& json, std::string_view piece) const {
  if (plan_.is_valid) {
    const bool goes_on = plan_.text.starts_with(piece);
    Plan same = PlanOf(plan_.text.substr(goes_on ? piece.size() : 0), true);
    if (same.is_known && grammar_->Completes(same.tokens)) return same;
  }
  return PlanOf(FindEnding(*grammar_, json), true);
}

// How the text can end as JSON, whatever the grammar says.
Guide::Plan Guide::Parsable(const JsonText& json, std::int32_t left) const {
  if (json.begun()) return PlanOf(json.Ending(), false);
  for (const char* const text : {"{}", "[]", "\"\"", "null", "0"}) {
    const Token first = grammar_->tokens().OfByte(static_cast<unsigned char>(*text));
    if (first == kNoToken || !grammar_->Allows(first)) continue;
    Plan plan = PlanOf(text, false);
    if (plan.Fits(left)) return plan;
  }
  return PlanOf("0", false);
}

}  // namespace edgereason
