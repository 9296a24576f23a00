// Holds an answer to its grammar, and keeps what would make it whole at hand, so that it can be cut
// at any token.
//
//   Guide guide(grammar, /*budget=*/64);
//   guide.Prepare();                     // the mask of the next token
//   guide.Accept(token, /*left=*/64);    // false: that one is not taken, the answer ends
//   guide.Ending()                       // the tokens that make it whole
//
// Before a token is taken it is asked how the text could end behind it. Where no ending fits into
// what is left of the budget, the answer ends in front of it. So a budget that has room for one
// valid text always gives one. A budget that has no room for any gives JSON that parses, cut where
// it must be.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "edgereason/grammar.h"
#include "policy/json_text.h"

namespace edgereason {

class Guide {
 public:
  // budget: tokens that the answer may have.
  Guide(std::shared_ptr<Grammar> grammar, std::int32_t budget);

  // Computes what may come next. False: nothing, as far as the grammar can tell; the answer ends.
  bool Prepare() noexcept;
  std::span<const std::uint32_t> mask() const noexcept { return mask_; }

  // left: tokens that the answer may still have, this one included.
  bool Accept(Token token, std::int32_t left);
  std::vector<Token> Forced() { return grammar_->Forced(); }  // to be accepted one by one
  bool MustEnd() noexcept { return grammar_->MustEnd(); }

  // What makes the text whole where it is cut now; empty where it is, or where nothing does.
  std::span<const Token> Ending() const noexcept;
  // The text can be made whole, and is then what the grammar asks for.
  bool ends_valid() const noexcept { return plan_.is_valid; }

 private:
  // How the text could end.
  struct Plan {
    std::string text;
    std::vector<Token> tokens;
    bool is_known = false;
    bool is_valid = false;  // under the grammar, and not just JSON

    bool Fits(std::int32_t left) const noexcept { return is_known && std::ssize(tokens) <= left; }
  };

  Plan PlanOf(std::optional<std::string> text, bool is_valid) const;
  Plan Valid(const JsonText& json, std::string_view piece) const;
  Plan Parsable(const JsonText& json, std::int32_t left) const;

  std::shared_ptr<Grammar> grammar_;
  std::vector<std::uint32_t> mask_;
  JsonText json_;
  Plan plan_;
  bool is_whole_ = false;  // the text may end as it is
};

}  // namespace edgereason
