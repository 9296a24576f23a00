#include "policy/token_table.h"

#include <algorithm>

namespace edgereason {
namespace {

constexpr std::size_t kMostBytes = 16;  // of the tokens that are looked for

}  // namespace

TokenTable::TokenTable(const Vocab& vocab) : vocab_(&vocab) {
  of_byte_.fill(kNoToken);
  for (std::size_t i = 0; i < vocab.pieces.size(); ++i) {
    const auto token = static_cast<Token>(i);
    const std::string_view piece = vocab.pieces[i];
    if (!IsText(token) || piece.size() > kMostBytes) continue;
    // Of two with the same bytes the later: the first ones are the byte tokens of some vocabularies.
    by_piece_.insert_or_assign(piece, token);
    if (piece.size() == 1) of_byte_[static_cast<unsigned char>(piece.front())] = token;
    longest_ = std::max(longest_, piece.size());
  }
}

bool TokenTable::IsText(Token token) const noexcept {
  const auto i = static_cast<std::size_t>(token);
  return vocab_->control[i] == 0 && vocab_->ends[i] == 0 && !vocab_->pieces[i].empty();
}

std::optional<std::vector<Token>> TokenTable::Tokens(std::string_view bytes) const {
  std::vector<Token> tokens;
  while (!bytes.empty()) {
    std::size_t length = std::min(bytes.size(), longest_);
    auto found = by_piece_.end();
    for (; length > 0; --length) {
      found = by_piece_.find(bytes.substr(0, length));
      if (found != by_piece_.end()) break;
    }
    if (length == 0) return std::nullopt;
    tokens.push_back(found->second);
    bytes.remove_prefix(length);
  }
  return tokens;
}

}  // namespace edgereason
