// Text to tokens and back, as libllama does it: for an open model, or for a GGUF of which nothing
// but its metadata is read.
//
//   const VocabFile file("vocab.gguf");      // may have no tensors at all
//   file.vocab().Piece(42);
//   file.Tokenize("two and two", false);     // from any thread
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "edgereason/engine.h"

struct llama_model;

namespace edgereason {

struct ModelDeleter {
  void operator()(llama_model* model) const noexcept;
};
using ModelPtr = std::unique_ptr<llama_model, ModelDeleter>;

Vocab ReadVocab(const llama_model& model);

// See Engine::Tokenize.
std::vector<Token> Tokenize(const llama_model& model, std::string_view text, bool parse_control);

// A value of the file's metadata as text, e.g. "tokenizer.chat_template".
std::optional<std::string> MetaOf(const llama_model& model, const std::string& key);

class VocabFile {
 public:
  explicit VocabFile(const std::string& path);  // throws kModelNotFound or kBundle

  const Vocab& vocab() const noexcept { return vocab_; }
  std::vector<Token> Tokenize(std::string_view text, bool parse_control) const {
    return edgereason::Tokenize(*model_, text, parse_control);
  }
  std::optional<std::string> Meta(const std::string& key) const { return MetaOf(*model_, key); }

 private:
  ModelPtr model_;
  Vocab vocab_;
};

}  // namespace edgereason
