#include "embedding_table.h"

#include <gguf.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace edgereason {
namespace {

// They feed a token's row as it is. Others scale or normalize it, and not what is fed as an
// embedding.
constexpr std::array<std::string_view, 5> kPlain = {"gpt2", "llama", "qwen2", "qwen3", "smollm3"};

bool IsPlain(const gguf_context* gguf) {
  const std::int64_t arch = gguf_find_key(gguf, "general.architecture");
  if (arch < 0 || gguf_get_kv_type(gguf, arch) != GGUF_TYPE_STRING) return false;
  const std::string_view name = gguf_get_val_str(gguf, arch);
  return std::ranges::find(kPlain, name) != kPlain.end() &&
         gguf_find_key(gguf, (std::string(name) + ".embedding_scale").c_str()) < 0;
}

}  // namespace

std::unique_ptr<EmbeddingTable> EmbeddingTable::Open(const std::string& path,
                                                     std::int32_t num_vocab,
                                                     std::int32_t num_embd) {
  const std::unique_ptr<gguf_context, decltype(&gguf_free)> gguf(
      gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = nullptr}), &gguf_free);
  if (!gguf || !IsPlain(gguf.get())) return nullptr;
  const std::int64_t tensor = gguf_find_tensor(gguf.get(), "token_embd.weight");
  if (tensor < 0) return nullptr;
  auto table = std::make_unique<EmbeddingTable>();
  table->type_ = gguf_get_tensor_type(gguf.get(), tensor);
  table->num_embd_ = num_embd;
  const std::size_t row_bytes = ggml_row_size(table->type_, num_embd);
  const auto num_rows = static_cast<std::size_t>(num_vocab);
  const bool readable =
      table->type_ == GGML_TYPE_F32 || ggml_get_type_traits(table->type_)->to_float != nullptr;
  // Of other shapes are models that pad, or embed in another width.
  if (!readable || gguf_get_tensor_size(gguf.get(), tensor) != num_rows * row_bytes) return nullptr;
  table->offset_ = static_cast<long>(gguf_get_data_offset(gguf.get()) +
                                     gguf_get_tensor_offset(gguf.get(), tensor));
  table->file_.reset(std::fopen(path.c_str(), "rb"));
  if (!table->file_) return nullptr;
  std::setvbuf(table->file_.get(), nullptr, _IONBF, 0);
  table->stored_.resize(row_bytes);
  return table;
}

bool EmbeddingTable::Read(Token token, float* row) noexcept {
  const auto at = static_cast<std::size_t>(token) * stored_.size();
  if (std::fseek(file_.get(), offset_ + static_cast<long>(at), SEEK_SET) != 0 ||
      std::fread(stored_.data(), 1, stored_.size(), file_.get()) != stored_.size()) {
    return false;
  }
  if (type_ == GGML_TYPE_F32) {
    std::memcpy(row, stored_.data(), stored_.size());
  } else {
    ggml_get_type_traits(type_)->to_float(stored_.data(), row, num_embd_);
  }
  return true;
}

}  // namespace edgereason
