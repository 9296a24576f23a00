#include "policy/closing.h"

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "policy/token_table.h"

namespace edgereason {
namespace {

constexpr int kMostSteps = 512;
constexpr std::size_t kMostBytes = 4096;
// Outside of strings: what ends something, then what is short, then what may be long.
constexpr std::string_view kSoonest = "}],: 0123456789\"ntf[{-.e+";
// Where more than this many characters may come, the text is free; else they follow a pattern.
constexpr std::size_t kFree = 64;
// What a pattern is more likely to wait for comes first: "a@" is nearer to an address than "aa".
constexpr std::string_view kOfPatterns =
    "@.-:/_,;+=#%&?!~^*$|<>()[]{}'`\"\\ "
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::string_view kOfFreeText =
    "abcdefghijklmnopqrstuvwxyz0123456789 "
    ".,@-:/_;+=#%&?!~^*$|<>()[]{}'`\"\\ABCDEFGHIJKLMNOPQRSTUVWXYZ";

class Search {
 public:
  Search(const Grammar& from, JsonText json)
      : at_(from.Clone()),
        table_(&from.tokens()),
        json_(std::move(json)),
        mask_(MaskWords(table_->num_vocab())) {}

  std::optional<std::string> Run() {
    for (int step = 0; step < kMostSteps && text_.size() < kMostBytes; ++step) {
      if (at_->MayEnd()) return text_;
      const std::vector<Token> forced = at_->Forced();
      if (!forced.empty()) {
        for (const Token token : forced) {
          if (!Take(token)) return std::nullopt;
        }
        continue;
      }
      if (!Take(Next())) return std::nullopt;
    }
    return std::nullopt;
  }

 private:
  bool Take(Token token) {
    if (token == kNoToken || !at_->Accept(token)) return false;
    const std::string_view piece = table_->Piece(token);
    text_ += piece;
    json_.Feed(piece);
    return true;
  }

  Token Next() {
    if (at_->is_json()) {
      const Token soon = FirstAllowed(json_.in_string() ? "\"" : kSoonest);
      if (soon != kNoToken) return soon;
    }
    return Filler();
  }

  Token FirstAllowed(std::string_view bytes) {
    for (const char byte : bytes) {
      const Token token = table_->OfByte(static_cast<unsigned char>(byte));
      if (token != kNoToken && at_->Allows(token)) return token;
    }
    return kNoToken;
  }

  bool InMask(Token token) const noexcept {
    const auto i = static_cast<std::size_t>(token);
    return token != kNoToken && (mask_[i / 32] >> (i % 32) & 1) != 0;
  }

  // A character for a text that cannot end yet, another one each time: who repeats one may wait for
  // ever for what a pattern asks for.
  Token Filler() {
    if (!at_->FillMask(mask_)) return kNoToken;
    std::size_t num = 0;
    for (const char byte : kOfFreeText) {
      num += InMask(table_->OfByte(static_cast<unsigned char>(byte))) ? 1 : 0;
    }
    const std::string_view order = num > kFree ? kOfFreeText : kOfPatterns;
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::size_t place = (next_ + i) % order.size();
      const Token token = table_->OfByte(static_cast<unsigned char>(order[place]));
      if (!InMask(token)) continue;
      next_ = place + 1;
      return token;
    }
    return ShortestInMask();
  }

  // Of characters that are none of the above: bytes of other alphabets, tokens of several bytes.
  Token ShortestInMask() const noexcept {
    Token best = kNoToken;
    for (std::size_t i = 0; i < table_->num_vocab(); ++i) {
      const auto token = static_cast<Token>(i);
      if (!InMask(token) || !table_->IsText(token)) continue;
      if (best == kNoToken || table_->Piece(token).size() < table_->Piece(best).size())
        best = token;
    }
    return best;
  }

  std::unique_ptr<Grammar> at_;
  const TokenTable* table_;
  JsonText json_;
  std::vector<std::uint32_t> mask_;
  std::string text_;
  std::size_t next_ = 0;  // where in the order of fillers
};

}  // namespace

std::optional<std::string> FindEnding(const Grammar& from, JsonText json) {
  return Search(from, std::move(json)).Run();
}

}  // namespace edgereason
