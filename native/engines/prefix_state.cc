#include "prefix_state.h"

#include <ggml.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string>

namespace edgereason {
namespace {

constexpr std::int32_t kRotated = 64;  // head sizes that quantized caches turn are multiples of it

[[noreturn]] void ThrowUnknown(const std::string& what) {
  throw Error(ErrorCode::kUnsupported, "this libllama keeps KV in a way that is not known: " + what,
              "prefixes need a model with plain attention");
}

// Reads one state and writes another with the same fields.
class Rewriter {
 public:
  explicit Rewriter(std::span<const std::uint8_t> from) : from_(from) {}

  template <typename T>
  T Take() {
    T value;
    if (from_.size() - at_ < sizeof value) ThrowUnknown("its state ends early");
    std::memcpy(&value, from_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  template <typename T>
  void Put(T value) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(&value);
    out_.insert(out_.end(), bytes, bytes + sizeof value);
  }
  template <typename T>
  T Copy() {
    const T value = Take<T>();
    Put(value);
    return value;
  }
  template <typename T>
  void Expect(T expected, const char* what) {
    if (const T found = Take<T>(); found != expected) {
      ThrowUnknown(std::string(what) + " is " + std::to_string(found) + ", expected " +
                   std::to_string(expected));
    }
  }
  void Skip(std::size_t num_bytes) {
    if (from_.size() - at_ < num_bytes) ThrowUnknown("its state ends early");
    at_ += num_bytes;
  }
  // Room for what comes next.
  std::uint8_t* Grow(std::size_t num_bytes) {
    out_.resize(out_.size() + num_bytes);
    return out_.data() + out_.size() - num_bytes;
  }
  std::vector<std::uint8_t> Finish() {
    if (at_ != from_.size()) ThrowUnknown("its state is longer than its fields");
    return std::move(out_);
  }

 private:
  std::span<const std::uint8_t> from_;
  std::size_t at_ = 0;
  std::vector<std::uint8_t> out_;
};

// libllama turns keys and values of quantized caches by a Walsh-Hadamard matrix, and queries too
// (llama-kv-cache.cpp, attn_rot_k). It is its own inverse.
void Turn(std::span<float> numbers, std::size_t size) {
  for (std::size_t begin = 0; begin < numbers.size(); begin += size) {
    float* const x = numbers.data() + begin;
    for (std::size_t half = 1; half < size; half *= 2) {
      for (std::size_t i = 0; i < size; i += 2 * half) {
        for (std::size_t j = i; j < i + half; ++j) {
          const float a = x[j];
          const float b = x[j + half];
          x[j] = a + b;
          x[j + half] = a - b;
        }
      }
    }
    const float scale = 1 / std::sqrt(static_cast<float>(size));
    for (std::size_t i = 0; i < size; ++i) x[i] *= scale;
  }
}

bool Turns(ggml_type type, std::int32_t head_dim) {
  // libllama's own switch; it reads it when the cache is made.
  const char* off = std::getenv("LLAMA_ATTN_ROT_DISABLE");
  const bool disabled = off != nullptr && std::atoi(off) != 0;
  return ggml_is_quantized(type) && head_dim % kRotated == 0 && !disabled;
}

class Rows {
 public:
  Rows(const PrefixKv& prefix, bool pairs) : prefix_(prefix), pairs_(pairs) {}

  std::size_t width() const noexcept {
    return static_cast<std::size_t>(prefix_.num_kv_heads) *
           static_cast<std::size_t>(prefix_.head_dim);
  }

  // All rows of a layer as libllama has them, [positions, width].
  std::vector<float> Keys(std::int32_t layer, ggml_type type) const {
    std::vector<float> rows = Gather(prefix_.keys, layer, pairs_);
    if (!Turns(type, prefix_.head_dim)) return rows;
    std::size_t size = kRotated;
    while (static_cast<std::size_t>(prefix_.head_dim) % (2 * size) == 0) size *= 2;
    Turn(rows, size);
    return rows;
  }
  std::vector<float> Values(std::int32_t layer, ggml_type type) const {
    std::vector<float> rows = Gather(prefix_.values, layer, false);
    if (Turns(type, prefix_.head_dim)) Turn(rows, kRotated);
    return rows;
  }

 private:
  std::vector<float> Gather(std::span<const float> numbers, std::int32_t layer, bool pairs) const {
    const auto heads = static_cast<std::size_t>(prefix_.num_kv_heads);
    const auto positions = static_cast<std::size_t>(prefix_.num_positions);
    const auto dim = static_cast<std::size_t>(prefix_.head_dim);
    const float* from = numbers.data() + static_cast<std::size_t>(layer) * heads * positions * dim;
    std::vector<float> rows(positions * heads * dim);
    for (std::size_t head = 0; head < heads; ++head) {
      for (std::size_t position = 0; position < positions; ++position) {
        float* const to = rows.data() + position * heads * dim + head * dim;
        for (std::size_t i = 0; i < dim; ++i) {
          const std::size_t half = dim / 2;
          to[pairs ? (i % half) * 2 + i / half : i] = *from++;
        }
      }
    }
    return rows;
  }

  const PrefixKv& prefix_;
  bool pairs_;
};

ggml_type TypeOf(std::int32_t number) {
  for (const ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0}) {
    if (number == static_cast<std::int32_t>(type)) return type;
  }
  ThrowUnknown("it is of type " + std::to_string(number));
}

void PutRows(Rewriter* state, const std::vector<float>& rows, std::size_t width, ggml_type type) {
  const auto num = static_cast<std::int64_t>(rows.size() / width);
  const std::size_t row_bytes = ggml_row_size(type, static_cast<std::int64_t>(width));
  std::uint8_t* const to = state->Grow(row_bytes * static_cast<std::size_t>(num));
  ggml_quantize_chunk(type, rows.data(), to, 0, num, static_cast<std::int64_t>(width), nullptr);
}

// One layer's keys, or values that are not transposed: type, bytes of a row, rows.
void RewriteRows(Rewriter* state, const Rows& rows, std::int32_t layer, bool keys) {
  const ggml_type type = TypeOf(state->Copy<std::int32_t>());
  const std::size_t row_bytes = ggml_row_size(type, static_cast<std::int64_t>(rows.width()));
  if (const auto found = state->Copy<std::uint64_t>(); found != row_bytes) {
    throw Error(ErrorCode::kBundle, "a row of the prefix takes " + std::to_string(row_bytes) +
                                        " bytes, of the model's " + std::to_string(found));
  }
  state->Skip(row_bytes);
  PutRows(state, keys ? rows.Keys(layer, type) : rows.Values(layer, type), rows.width(), type);
}

// Transposed values (without flash attention): type, bytes of a number, numbers of a row, columns.
void RewriteColumns(Rewriter* state, const Rows& rows, std::int32_t layer) {
  const ggml_type type = TypeOf(state->Copy<std::int32_t>());
  if (ggml_is_quantized(type)) ThrowUnknown("transposed and quantized");
  const std::size_t size = ggml_type_size(type);
  if (state->Copy<std::uint32_t>() != size) ThrowUnknown("the size of a number");
  if (state->Copy<std::uint32_t>() != rows.width()) {
    throw Error(ErrorCode::kBundle, "the prefix has rows of another width than the model");
  }
  state->Skip(rows.width() * size);
  const std::vector<float> by_position = rows.Values(layer, type);
  const std::size_t positions = by_position.size() / rows.width();
  std::vector<float> by_column(by_position.size());
  for (std::size_t position = 0; position < positions; ++position) {
    for (std::size_t i = 0; i < rows.width(); ++i) {
      by_column[i * positions + position] = by_position[position * rows.width() + i];
    }
  }
  PutRows(state, by_column, positions, type);
}

}  // namespace

std::vector<std::uint8_t> PrefixState(const PrefixKv& prefix,
                                      std::span<const std::uint8_t> one_token, bool pairs) {
  if (prefix.head_dim % 2 != 0) {
    throw Error(ErrorCode::kBundle, "the prefix has heads of an odd size");
  }
  const Rows rows(prefix, pairs);
  Rewriter state(one_token);
  state.Copy<std::uint32_t>();  // a magic number, checked by libllama
  const auto seq = state.Copy<std::int32_t>();
  if (state.Copy<std::uint32_t>() != 1) ThrowUnknown("more than one stream");
  state.Expect<std::uint32_t>(1, "the number of cells");
  state.Expect<std::int32_t>(0, "the position");
  state.Expect<std::uint32_t>(1, "the number of sequences of a cell");
  state.Expect<std::int32_t>(seq, "the sequence of a cell");
  state.Put(static_cast<std::uint32_t>(prefix.num_positions));
  for (std::int32_t position = 0; position < prefix.num_positions; ++position) {
    state.Put(position);
    state.Put(std::uint32_t{1});
    state.Put(seq);
  }
  const auto transposed = state.Copy<std::uint32_t>();
  if (transposed > 1) ThrowUnknown("transposed is " + std::to_string(transposed));
  if (const auto found = state.Copy<std::uint32_t>();
      found != static_cast<std::uint32_t>(prefix.num_layers)) {
    throw Error(ErrorCode::kBundle, "the prefix has " + std::to_string(prefix.num_layers) +
                                        " layers, the model " + std::to_string(found));
  }
  for (std::int32_t i = 0; i < prefix.num_layers; ++i) RewriteRows(&state, rows, i, true);
  for (std::int32_t i = 0; i < prefix.num_layers; ++i) {
    if (transposed == 1) {
      RewriteColumns(&state, rows, i);
    } else {
      RewriteRows(&state, rows, i, false);
    }
  }
  return state.Finish();
}

}  // namespace edgereason
