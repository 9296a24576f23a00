// Grammars by llguidance, out of its Python package: JSON schemas, regular expressions, Lark.
//
//   auto guidance = Guidance::Open(".../llguidance/_lib.abi3.so", engine);   // once for a model
//   std::unique_ptr<Grammar> grammar = guidance->Compile("json_schema", R"({"type": "integer"})");
//
// The library is loaded with dlopen and called without Python. It needs Python's symbols: it can be
// loaded in a process that runs Python, and in no other.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "edgereason/engine.h"
#include "edgereason/grammar.h"
#include "llguidance_abi.h"
#include "policy/token_table.h"

namespace edgereason {

class Guidance : public std::enable_shared_from_this<Guidance> {
 public:
  // Reads the vocabulary of `engine`: half a second for 150,000 tokens. Throws kUnsupported where
  // the library cannot be used.
  static std::shared_ptr<const Guidance> Open(const std::string& library,
                                              std::shared_ptr<const Engine> engine);
  ~Guidance();
  Guidance(const Guidance&) = delete;
  Guidance& operator=(const Guidance&) = delete;

  // kind: json_schema, regex or lark. From any thread. Throws kUsage with what the library has
  // against it, kUnsupported where the vocabulary cannot write its first token.
  std::unique_ptr<Grammar> Compile(const std::string& kind, const std::string& text) const;

  const llg::Functions& calls() const noexcept { return calls_; }
  const TokenTable& table() const noexcept { return table_; }
  Token end() const noexcept { return end_; }  // one of those that end a text

  // The tokens that the model's own tokenizer makes of a text; those of `table` where it adds or
  // loses bytes.
  std::vector<Token> TokensOf(std::string_view text) const;

 private:
  explicit Guidance(std::shared_ptr<const Engine> engine);
  void Load(const std::string& library);
  void ReadVocabulary();

  std::shared_ptr<const Engine> engine_;
  TokenTable table_;
  llg::Functions calls_ = {};
  llg::Tokenizer* tokenizer_ = nullptr;
  Token end_ = kNoToken;
};

}  // namespace edgereason
