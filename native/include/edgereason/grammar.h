// What an answer must look like. A phase that has a grammar draws only what it allows, and its text
// is made whole where it is cut (context/guide.h).
//
//   std::unique_ptr<Grammar> grammar = compiled.Clone();   // at the beginning of a text
//   grammar->FillMask(mask);                               // what may come next
//   grammar->Accept(token);                                // what came
//   for (Token token : grammar->Forced()) ...              // what can only come next
//
// One object is the state of one text and belongs to one thread at a time. Works on the bytes of
// tokens: any tokens that spell an allowed text are allowed. A mask of JSON takes some 40
// microseconds for a vocabulary of 150,000; all else a few.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "edgereason/engine.h"

namespace edgereason {

class TokenTable;

// Words of a mask: token i is bit i % 32 of word i / 32.
constexpr std::size_t MaskWords(std::size_t num_vocab) noexcept { return (num_vocab + 31) / 32; }

class Grammar {
 public:
  virtual ~Grammar() = default;

  // The same state once more, on its own. Throws std::bad_alloc.
  virtual std::unique_ptr<Grammar> Clone() const = 0;

  // Its texts are JSON, which can be closed wherever it is cut.
  virtual bool is_json() const noexcept = 0;
  virtual const TokenTable& tokens() const noexcept = 0;

  // Sets the bits of the tokens that may come next; those of end tokens where the text may end.
  // mask: [MaskWords(num_vocab)]. False: it has come to the limits of its work.
  virtual bool FillMask(std::span<std::uint32_t> mask) noexcept = 0;
  virtual bool Allows(Token token) noexcept = 0;
  // The tokens may follow, and the text may end behind them.
  virtual bool Completes(std::span<const Token> tokens) = 0;
  // Moves on. False: `token` was not allowed, and this state is of no further use.
  virtual bool Accept(Token token) noexcept = 0;
  // The tokens that must come next, as the model's tokenizer writes them. They are not accepted yet.
  virtual std::vector<Token> Forced() = 0;

  virtual bool MayEnd() noexcept = 0;
  virtual bool MustEnd() noexcept = 0;  // nothing else can come
};

}  // namespace edgereason
