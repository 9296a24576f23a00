// Bytes to tokens without a tokenizer: the longest token first. For text that is put behind all
// that a model reads, so that it need not be cut as the model would.
//
//   TokenTable table(engine.vocab());
//   table.Tokens("\"}")   // {the token '"}'}, or those of its two bytes
#pragma once

#include <array>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "edgereason/engine.h"

namespace edgereason {

class TokenTable {
 public:
  explicit TokenTable(const Vocab& vocab);  // which must outlive it

  // nullopt: there are no tokens for some of the bytes.
  std::optional<std::vector<Token>> Tokens(std::string_view bytes) const;
  // The token that is this byte and nothing else; kNoToken: none is.
  Token OfByte(unsigned char byte) const noexcept { return of_byte_[byte]; }
  // Text, and neither the name of a control token nor an end.
  bool IsText(Token token) const noexcept;
  std::string_view Piece(Token token) const noexcept { return vocab_->Piece(token); }
  std::size_t num_vocab() const noexcept { return vocab_->pieces.size(); }

 private:
  const Vocab* vocab_;
  std::unordered_map<std::string_view, Token> by_piece_;
  std::array<Token, 256> of_byte_;
  std::size_t longest_ = 1;
};

}  // namespace edgereason
