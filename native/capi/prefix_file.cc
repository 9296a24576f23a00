#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "edgereason/error.h"
#include "plan.h"

namespace edgereason {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFormat = "edgereason-prefix-1";
constexpr std::uintmax_t kMostBytes = std::uintmax_t{1} << 32;
constexpr std::size_t kLengthBytes = 8;
constexpr std::int64_t kMostSize = 1 << 20;  // of a dimension
constexpr float kMostF16 = 65504;

// A safetensors file: the length of its table, the table, the numbers.
struct Tensors {
  Json table;
  std::span<const char> numbers;
};

Tensors Open(std::span<const char> file) {
  std::uint64_t length = 0;
  if (file.size() < kLengthBytes) throw Error(ErrorCode::kBundle, "it is too short");
  std::memcpy(&length, file.data(), kLengthBytes);  // little-endian, as all that we build for
  if (length > file.size() - kLengthBytes) throw Error(ErrorCode::kBundle, "its table is cut off");
  const auto table = file.subspan(kLengthBytes, static_cast<std::size_t>(length));
  return {.table = Json::parse(table.begin(), table.end()),
          .numbers = file.subspan(kLengthBytes + static_cast<std::size_t>(length))};
}

// Appends the numbers of a tensor of this shape.
void Append(const Tensors& tensors, const std::string& name, const std::vector<std::int64_t>& shape,
            std::vector<float>* out) {
  const Json& entry = tensors.table.at(name);
  if (entry.at("shape").get<std::vector<std::int64_t>>() != shape) {
    throw Error(ErrorCode::kBundle, name + " has another shape than the first");
  }
  const auto dtype = entry.at("dtype").get<std::string>();
  const std::size_t width = dtype == "F32" ? 4 : dtype == "F16" || dtype == "BF16" ? 2 : 0;
  if (width == 0) throw Error(ErrorCode::kBundle, name + " is stored as " + dtype);
  const auto count = static_cast<std::size_t>(shape[0] * shape[1] * shape[2]);
  const auto [begin, end] = entry.at("data_offsets").get<std::pair<std::size_t, std::size_t>>();
  if (begin > end || end > tensors.numbers.size() || end - begin != count * width) {
    throw Error(ErrorCode::kBundle, name + " lies outside the file, or has another size");
  }
  const std::size_t at = out->size();
  out->resize(at + count);
  const char* const from = tensors.numbers.data() + begin;
  if (width == 4) {
    std::memcpy(out->data() + at, from, count * width);
    return;
  }
  std::vector<std::uint16_t> halves(count);  // aligned, which the file need not be
  std::memcpy(halves.data(), from, count * width);
  const auto num = static_cast<std::int64_t>(count);
  if (dtype == "F16") {
    ggml_fp16_to_fp32_row(halves.data(), out->data() + at, num);
  } else {
    std::vector<ggml_bf16_t> wide(count);
    std::memcpy(wide.data(), halves.data(), count * width);
    ggml_bf16_to_fp32_row(wide.data(), out->data() + at, num);
  }
}

PrefixFile PrefixOf(const Tensors& tensors, const std::string& base) {
  const Json& told = tensors.table.at("__metadata__");
  if (told.at("format").get<std::string>() != kFormat)
    throw Error(ErrorCode::kBundle, "it is no prefix");
  if (told.at("base").get<std::string>() != base) {
    throw Error(ErrorCode::kBundle, "it was trained for other weights than those of the plan");
  }
  const auto shape = tensors.table.at("layers.0.key").at("shape").get<std::vector<std::int64_t>>();
  const bool known = shape.size() == 3 && std::ranges::all_of(shape, [](std::int64_t size) {
                       return size >= 1 && size <= kMostSize;
                     });
  const auto layers = static_cast<std::int32_t>((tensors.table.size() - 1) / 2);
  if (!known || layers < 1) throw Error(ErrorCode::kBundle, "its tensors have no known shape");
  PrefixFile read{.kv = {.num_layers = layers,
                         .num_kv_heads = static_cast<std::int32_t>(shape[0]),
                         .num_positions = static_cast<std::int32_t>(shape[1]),
                         .head_dim = static_cast<std::int32_t>(shape[2]),
                         .keys = {},
                         .values = {}},
                  .numbers = {}};
  for (const char* part : {".key", ".value"}) {
    for (std::int32_t layer = 0; layer < layers; ++layer) {
      Append(tensors, "layers." + std::to_string(layer) + part, shape, &read.numbers);
    }
  }
  const auto fits = [](float x) { return std::abs(x) <= kMostF16; };  // no NaN does
  if (!std::ranges::all_of(read.numbers, fits)) {
    throw Error(ErrorCode::kBundle, "it holds numbers that are not finite, or too large");
  }
  const std::span<const float> all = read.numbers;
  read.kv.keys = all.first(all.size() / 2);
  read.kv.values = all.last(all.size() / 2);
  return read;
}

}  // namespace

PrefixFile ReadPrefix(const std::string& path, const std::string& base) {
  std::error_code missing;
  const std::uintmax_t size = std::filesystem::file_size(path, missing);
  std::ifstream file(path, std::ios::binary);
  if (missing || !file) throw Error(ErrorCode::kModelNotFound, "no such prefix: " + path);
  if (size > kMostBytes) throw Error(ErrorCode::kBundle, path + " is too large for a prefix");
  std::vector<char> bytes(static_cast<std::size_t>(size));
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  const auto damaged = [&](const std::string& what) {
    return Error(ErrorCode::kBundle, path + " cannot be used as a prefix: " + what);
  };
  try {
    return PrefixOf(Open(bytes), base);
  } catch (const Json::exception& error) {
    throw damaged(error.what());
  } catch (const Error& error) {
    throw damaged(error.what());
  }
}

}  // namespace edgereason
