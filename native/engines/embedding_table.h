// The embeddings of tokens as the model file has them, for steps that feed tokens and embeddings
// side by side: libllama takes one kind a batch.
//
//   auto table = EmbeddingTable::Open("model.gguf", num_vocab, num_embd);
//   if (table) table->Read(42, row);   // [num_embd], what libllama would have looked up
//
// Rows are read from the file, whose pages the loaded model keeps warm; nothing is held in memory.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "edgereason/engine.h"

namespace edgereason {

class EmbeddingTable {
 public:
  // Null where the model does more to a token than to look it up, or is split over files.
  static std::unique_ptr<EmbeddingTable> Open(const std::string& path, std::int32_t num_vocab,
                                              std::int32_t num_embd);

  bool Read(Token token, float* row) noexcept;  // false: the file cannot be read any more

 private:
  struct Closer {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
  };

  std::unique_ptr<std::FILE, Closer> file_;
  long offset_ = 0;  // where row 0 begins
  ggml_type type_ = GGML_TYPE_F32;
  std::int64_t num_embd_ = 0;
  std::vector<std::uint8_t> stored_;  // one row
};

}  // namespace edgereason
