// What a GGUF file says about itself before any of it is loaded, and whether it fits into memory.
//
//   const ModelFile file = ReadModelFile("model.gguf");     // a few ms: the header alone
//   CheckMemory(file, {.cells = 4096}, FreeMemoryBytes());  // throws kMemoryLimit: what would fit
//
// The estimate is for a plain transformer; layers without attention count as nothing.
#pragma once

#include <cstdint>
#include <string>

namespace edgereason {

enum class KvType : std::uint8_t { kF16, kQ8_0 };

struct ModelFile {
  std::string path = {};
  std::int64_t file_bytes = 0;  // of all parts of a split model
  std::int32_t num_vocab = 0;
  std::int32_t num_embd = 0;
  std::int32_t num_feed_forward = 0;
  std::int32_t trained_context = 0;
  std::int64_t cell_values = 0;  // numbers one KV cell holds, all layers, keys and values
};

// Throws kModelNotFound where there is no file, kBundle where it is not a whole GGUF.
ModelFile ReadModelFile(const std::string& path);

std::int64_t CellBytes(const ModelFile& file, KvType type);

struct MemoryPlan {
  std::int64_t cells = 0;
  KvType kv_type = KvType::kF16;
  std::int64_t rows = 0;      // of one step
  std::int64_t outputs = 0;   // rows of one step that have logits
  std::int64_t requests = 0;  // that run side by side
};

// Weights, KV cache and buffers of a step, in bytes.
std::int64_t NeededBytes(const ModelFile& file, const MemoryPlan& plan);

// Throws kMemoryLimit if `plan` needs more than `free_bytes`; negative: unknown, nothing is
// checked.
void CheckMemory(const ModelFile& file, const MemoryPlan& plan, std::int64_t free_bytes);

// What the system, or the container where that has less, could give now without swapping; negative
// where it does not tell. `root` is where to look for /proc and /sys.
std::int64_t FreeMemoryBytes(const std::string& root = "");

}  // namespace edgereason
