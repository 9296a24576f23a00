// A grammar without a library: it allows some texts and nothing else. For tests.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "edgereason/grammar.h"
#include "policy/token_table.h"

namespace edgereason::test {

class TextsGrammar final : public Grammar {
 public:
  TextsGrammar(const Vocab& vocab, std::vector<std::string> texts, bool is_json)
      : vocab_(&vocab),
        table_(std::make_shared<TokenTable>(vocab)),
        texts_(std::move(texts)),
        is_json_(is_json) {}

  std::unique_ptr<Grammar> Clone() const override { return std::make_unique<TextsGrammar>(*this); }
  bool is_json() const noexcept override { return is_json_; }
  const TokenTable& tokens() const noexcept override { return *table_; }

  bool FillMask(std::span<std::uint32_t> mask) noexcept override {
    std::ranges::fill(mask, 0U);
    if (breaks) return false;
    for (std::size_t i = 0; i < vocab_->pieces.size(); ++i) {
      if (Allows(static_cast<Token>(i))) mask[i / 32] |= 1U << (i % 32);
    }
    return true;
  }
  bool Allows(Token token) noexcept override {
    if (vocab_->Ends(token)) return MayEnd();
    return table_->IsText(token) && Begins(so_far_ + std::string(vocab_->Piece(token)));
  }
  bool Completes(std::span<const Token> tokens) override {
    std::string text = so_far_;
    for (const Token token : tokens) text += vocab_->Piece(token);
    return std::ranges::count(texts_, text) > 0;
  }
  bool Accept(Token token) noexcept override {
    if (!Allows(token)) return false;
    so_far_ += vocab_->Piece(token);
    return true;
  }
  std::vector<Token> Forced() override {
    std::string common;
    for (bool first = true; const std::string& text : texts_) {
      if (!text.starts_with(so_far_)) continue;
      const std::string rest = text.substr(so_far_.size());
      const auto same = std::ranges::mismatch(common, rest).in1 - common.begin();
      common = first ? rest : common.substr(0, static_cast<std::size_t>(same));
      first = false;
    }
    return *table_->Tokens(common);
  }
  bool MayEnd() noexcept override { return Completes({}); }
  bool MustEnd() noexcept override {
    return MayEnd() && std::ranges::none_of(texts_, [&](const std::string& text) {
             return text.size() > so_far_.size() && text.starts_with(so_far_);
           });
  }

  bool breaks = false;  // it gives no masks

 private:
  bool Begins(const std::string& text) const noexcept {
    return std::ranges::any_of(texts_, [&](const auto& one) { return one.starts_with(text); });
  }

  const Vocab* vocab_;
  std::shared_ptr<const TokenTable> table_;
  std::vector<std::string> texts_;
  bool is_json_;
  std::string so_far_;
};

}  // namespace edgereason::test
