#include "model_file.h"

#include <gguf.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

#include "edgereason/error.h"

namespace edgereason {
namespace {

namespace fs = std::filesystem;

using Gguf = std::unique_ptr<gguf_context, decltype(&gguf_free)>;

// An unsigned integer of the header, or the first of an array of them; nothing where the key is
// absent or of another type.
std::optional<std::int64_t> Integer(const gguf_context* gguf, const std::string& key) {
  const std::int64_t id = gguf_find_key(gguf, key.c_str());
  if (id < 0) return std::nullopt;
  switch (gguf_get_kv_type(gguf, id)) {
    case GGUF_TYPE_UINT16:
      return gguf_get_val_u16(gguf, id);
    case GGUF_TYPE_UINT32:
      return gguf_get_val_u32(gguf, id);
    case GGUF_TYPE_INT32:
      return gguf_get_val_i32(gguf, id);
    case GGUF_TYPE_UINT64:
      return static_cast<std::int64_t>(gguf_get_val_u64(gguf, id));
    default:
      return std::nullopt;
  }
}

std::int32_t Int32(const gguf_context* gguf, const std::string& key, std::int64_t fallback) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(
      std::clamp<std::int64_t>(Integer(gguf, key).value_or(fallback), 0, kMost));
}

// KV heads of each layer: one number for all, or an array with one a layer.
std::int64_t SumOfKvHeads(const gguf_context* gguf, const std::string& arch) {
  const std::int64_t layers = Int32(gguf, arch + ".block_count", 0);
  const std::string key = arch + ".attention.head_count_kv";
  const std::int64_t id = gguf_find_key(gguf, key.c_str());
  if (id < 0 || gguf_get_kv_type(gguf, id) != GGUF_TYPE_ARRAY) {
    return layers * Int32(gguf, key, Int32(gguf, arch + ".attention.head_count", 0));
  }
  const gguf_type type = gguf_get_arr_type(gguf, id);
  if (type != GGUF_TYPE_INT32 && type != GGUF_TYPE_UINT32) return 0;
  const auto* heads = static_cast<const std::int32_t*>(gguf_get_arr_data(gguf, id));
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < gguf_get_arr_n(gguf, id); ++i) sum += std::max(heads[i], 0);
  return sum;
}

std::int64_t CellValues(const gguf_context* gguf, const std::string& arch) {
  const std::int64_t heads = std::max(Int32(gguf, arch + ".attention.head_count", 0), 1);
  const std::int64_t head_size = Int32(gguf, arch + ".embedding_length", 0) / heads;
  const std::int64_t key = Int32(gguf, arch + ".attention.key_length", head_size);
  // With latent attention the values are a part of the keys.
  const bool latent = Integer(gguf, arch + ".attention.key_length_mla").has_value();
  const std::int64_t value = latent ? 0 : Int32(gguf, arch + ".attention.value_length", head_size);
  return SumOfKvHeads(gguf, arch) * (key + value);
}

// libllama trusts the numbers of a header; these would end the process in the middle of a step.
void CheckNumbers(const gguf_context* gguf, const std::string& path) {
  for (std::int64_t id = 0; id < gguf_get_n_kv(gguf); ++id) {
    if (gguf_get_kv_type(gguf, id) != GGUF_TYPE_FLOAT32) continue;
    const std::string_view key = gguf_get_key(gguf, id);
    const float value = gguf_get_val_f32(gguf, id);
    if (std::isfinite(value) && (value >= 0 || !key.ends_with("epsilon"))) continue;
    throw Error(ErrorCode::kBundle,
                path + " is damaged: its " + std::string(key) + " is " + std::to_string(value),
                "fetch it again");
  }
}

std::string Architecture(const gguf_context* gguf) {
  const std::int64_t id = gguf_find_key(gguf, "general.architecture");
  if (id < 0 || gguf_get_kv_type(gguf, id) != GGUF_TYPE_STRING) return "";
  return gguf_get_val_str(gguf, id);
}

std::int32_t NumTokens(const gguf_context* gguf) {
  const std::int64_t id = gguf_find_key(gguf, "tokenizer.ggml.tokens");
  if (id < 0 || gguf_get_kv_type(gguf, id) != GGUF_TYPE_ARRAY) return 0;
  return static_cast<std::int32_t>(gguf_get_arr_n(gguf, id));
}

// A model split over files is named by its first: model-00001-of-00003.gguf.
std::int64_t FileBytes(const std::string& path, std::int64_t num_parts) {
  auto bytes = static_cast<std::int64_t>(fs::file_size(path));
  const std::size_t at = path.rfind("-00001-of-");
  if (num_parts < 2 || at == std::string::npos) return bytes;
  for (std::int64_t part = 2; part <= num_parts; ++part) {
    char number[16];
    std::snprintf(number, sizeof number, "-%05d", static_cast<int>(part));
    const std::string name = path.substr(0, at) + number + path.substr(at + 6);
    std::error_code missing;
    const auto size = fs::file_size(name, missing);
    if (missing) throw Error(ErrorCode::kBundle, "part of a split model is missing: " + name);
    bytes += static_cast<std::int64_t>(size);
  }
  return bytes;
}

std::optional<std::int64_t> Number(const std::string& path) {
  std::int64_t number = 0;
  if (std::ifstream(path) >> number) return number;
  return std::nullopt;
}

// The number behind `name` in a file of lines "name number".
std::optional<std::int64_t> Field(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string key;
    std::int64_t number = 0;
    if (words >> key >> number && key == name) return number;
  }
  return std::nullopt;
}

// The control groups that this process is in, and those above them: each may have a limit. Version 2
// has one tree, version 1 (JetPack 5) one for memory. In a container the folders of the path may not
// be there: its own limits are in the topmost.
std::vector<fs::path> MemoryGroups(const std::string& root) {
  const fs::path top = root + "/sys/fs/cgroup";
  std::string of_all;
  std::string of_memory;
  std::ifstream file(root + "/proc/self/cgroup");
  std::string number;
  std::string controllers;
  std::string path;
  while (std::getline(file, number, ':') && std::getline(file, controllers, ':') &&
         std::getline(file, path)) {
    if (controllers.empty()) of_all = path;
    if (("," + controllers + ",").find(",memory,") != std::string::npos) of_memory = path;
  }
  std::vector<fs::path> groups;
  const auto add = [&](const fs::path& place, const std::string& inside) {
    if (inside.find("..") != std::string::npos) return;  // outside of what is seen
    fs::path part = fs::path(inside).relative_path();
    for (; !part.empty(); part = part.parent_path()) groups.push_back(place / part);
    groups.push_back(place);
  };
  add(top, of_all);
  add(top / "memory", of_memory);
  return groups;
}

// What a group may still take. The kernel gives file cache back when asked; version 1 counts that of
// those below under a name of its own.
std::optional<std::int64_t> LeftOf(const fs::path& group) {
  const auto left = [&](const char* limit, const char* used, const char* cache) {
    std::optional<std::int64_t> most = Number(group / limit);
    if (most) {
      *most -= Number(group / used).value_or(0) - Field(group / "memory.stat", cache).value_or(0);
    }
    return most;
  };
  const auto found = left("memory.max", "memory.current", "inactive_file");
  return found ? found
               : left("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
}

std::string Size(std::int64_t bytes) {
  constexpr std::int64_t kGib = 1LL << 30;
  char text[32];
  if (bytes < kGib) {
    std::snprintf(text, sizeof text, "%lld MiB", static_cast<long long>(bytes >> 20));
  } else {
    std::snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(bytes) / kGib);
  }
  return text;
}

// The way out for who asked for too much: fewer cells, smaller cells, or a smaller model.
std::string WhatWouldFit(const ModelFile& file, const MemoryPlan& plan, std::int64_t free_bytes) {
  MemoryPlan none = plan;
  none.cells = 0;
  MemoryPlan one = plan;
  one.cells = 1;
  const std::int64_t room = free_bytes - NeededBytes(file, none);
  const std::int64_t cell = NeededBytes(file, one) - NeededBytes(file, none);
  constexpr std::int64_t kFewest = 512;  // less than that is no use to anybody
  if (cell > 0 && room >= kFewest * cell) {
    std::string hint = "try --context " + std::to_string(room / cell / 256 * 256);
    if (plan.kv_type == KvType::kF16) hint += " or --kv q8_0";
    return hint;
  }
  return "use a smaller model or a smaller quantization, or free memory";
}

}  // namespace

ModelFile ReadModelFile(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) throw Error(ErrorCode::kModelNotFound, "no such model file: " + path);
  if (!fs::is_regular_file(status)) throw Error(ErrorCode::kBundle, "not a model file: " + path);
  const Gguf gguf(gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = nullptr}),
                  &gguf_free);
  if (!gguf) {
    throw Error(ErrorCode::kBundle, "not a readable GGUF file: " + path,
                "it may be truncated or damaged: fetch it again");
  }
  CheckNumbers(gguf.get(), path);
  const std::string arch = Architecture(gguf.get());
  const std::int64_t layers = Int32(gguf.get(), arch + ".block_count", 0);
  const std::int64_t parts = Int32(gguf.get(), "split.count", 1);
  const std::int64_t tensors = gguf_get_n_tensors(gguf.get());
  if (parts < 2 && layers > tensors) {
    throw Error(ErrorCode::kBundle, path + " is damaged: " + std::to_string(layers) +
                                        " layers of " + std::to_string(tensors) + " tensors");
  }
  return {
      .path = path,
      .file_bytes = FileBytes(path, parts),
      .num_vocab = NumTokens(gguf.get()),
      .num_embd = Int32(gguf.get(), arch + ".embedding_length", 0),
      .num_feed_forward = Int32(gguf.get(), arch + ".feed_forward_length", 0),
      .trained_context = Int32(gguf.get(), arch + ".context_length", 0),
      .cell_values = CellValues(gguf.get(), arch),
  };
}

std::int64_t CellBytes(const ModelFile& file, KvType type) {
  // q8_0: blocks of 32 numbers in 34 bytes.
  return type == KvType::kF16 ? file.cell_values * 2 : file.cell_values * 34 / 32;
}

std::int64_t NeededBytes(const ModelFile& file, const MemoryPlan& plan) {
  constexpr std::int64_t kFloat = sizeof(float);
  constexpr std::int64_t kHalf = 2;
  // A cell in use: its item in the context, its place in the ledger, its token and its text.
  constexpr std::int64_t kItemBytes = 8 + 4 + 4 + 12;
  constexpr std::int64_t kTokenBytes = 384;  // of the vocabulary, libllama's and ours; measured
  constexpr std::int64_t kRequestBytes = 64 << 10;  // what Python holds of one
  constexpr std::int64_t kFixed = 6LL << 20;        // graph, threads
  const std::int64_t activations =
      plan.rows * kFloat * (4LL * file.num_embd + 3LL * file.num_feed_forward);
  // Which row may look at which cell, as flash attention wants it.
  const std::int64_t mask = plan.rows * plan.cells * kHalf;
  const std::int64_t logits = plan.outputs * kFloat * file.num_vocab;
  return file.file_bytes + plan.cells * (CellBytes(file, plan.kv_type) + kItemBytes) + activations +
         logits + mask + plan.requests * kRequestBytes + file.num_vocab * kTokenBytes + kFixed;
}

void CheckMemory(const ModelFile& file, const MemoryPlan& plan, std::int64_t free_bytes) {
  const std::int64_t needed = NeededBytes(file, plan);
  if (free_bytes < 0 || needed <= free_bytes) return;
  const std::string message = file.path + " needs " + Size(needed) + " (" +
                              Size(plan.cells * CellBytes(file, plan.kv_type)) +
                              " of it for a context of " + std::to_string(plan.cells) + "), " +
                              Size(free_bytes) + " is free";
  throw Error(ErrorCode::kMemoryLimit, message, WhatWouldFit(file, plan, free_bytes));
}

std::int64_t FreeMemoryBytes(const std::string& root) {
  const std::optional<std::int64_t> host = Field(root + "/proc/meminfo", "MemAvailable:");
  if (!host) return -1;
  std::int64_t free_bytes = *host * 1024;
  for (const fs::path& group : MemoryGroups(root)) {
    const std::optional<std::int64_t> left = LeftOf(group);
    if (left) free_bytes = std::clamp<std::int64_t>(*left, 0, free_bytes);
  }
  return free_bytes;
}

}  // namespace edgereason
