#include "model_file.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "check.h"
#include "edgereason/error.h"

namespace edgereason {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMib = 1 << 20;

// SmolLM2-135M at 4 bit.
ModelFile Small() {
  return {.path = "small.gguf",
          .file_bytes = 94 * kMib,
          .num_vocab = 49152,
          .num_embd = 576,
          .num_feed_forward = 1536,
          .trained_context = 8192,
          .cell_values = 11520};
}

Error RefusalOf(const MemoryPlan& plan, std::int64_t free_bytes) {
  try {
    CheckMemory(Small(), plan, free_bytes);
  } catch (const Error& error) {
    return error;
  }
  throw test::Failure("it was not refused");
}

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A folder that looks like the root of a machine.
class Root {
 public:
  Root() : path_(fs::temp_directory_path() / "edgereason-root") { fs::remove_all(path_); }
  ~Root() { fs::remove_all(path_); }
  Root(const Root&) = delete;
  Root& operator=(const Root&) = delete;

  void Write(const std::string& name, const std::string& text) const {
    fs::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
  }
  std::int64_t Free() const { return FreeMemoryBytes(path_.string()); }

 private:
  fs::path path_;
};

TEST(CellsOfEachKindHaveTheirSize) {
  CHECK_EQ(CellBytes(Small(), KvType::kF16), 23040);
  CHECK_EQ(CellBytes(Small(), KvType::kQ8_0), 12240);
}

TEST(WhatFitsPasses) {
  CheckMemory(Small(), {.cells = 4096, .rows = 512, .outputs = 16}, 400 * kMib);
  CheckMemory(Small(), {.cells = 1 << 30}, -1);  // nobody knows
}

TEST(ARefusalSaysWhatWouldFit) {
  const Error error = RefusalOf({.cells = 100'000, .rows = 512, .outputs = 16}, 1024 * kMib);
  CHECK(error.code() == ErrorCode::kMemoryLimit);
  CHECK(Has(error.what(), "small.gguf needs 2."));
  CHECK(Has(error.what(), "1.00 GiB is free"));
  CHECK(Has(error.hint(), "or --kv q8_0"));
  const auto cells = std::stoll(error.hint().substr(error.hint().find("--context ") + 10));
  CHECK(cells > 30'000);
  CheckMemory(Small(), {.cells = cells, .rows = 512, .outputs = 16}, 1024 * kMib);
}

TEST(ARefusalOfTheModelItselfSaysSo) {
  const Error error = RefusalOf({.cells = 256}, 100 * kMib);
  CHECK(Has(error.hint(), "a smaller model"));
  CHECK(!Has(RefusalOf({.cells = 100'000, .kv_type = KvType::kQ8_0}, 400 * kMib).hint(), "q8_0"));
}

TEST(FreeMemoryIsTheHosts) {
  const Root root;
  CHECK_EQ(root.Free(), -1);
  root.Write("proc/meminfo", "MemTotal: 2000 kB\nMemFree:  10 kB\nMemAvailable:    1000 kB\n");
  CHECK_EQ(root.Free(), 1000 * 1024);
  root.Write("sys/fs/cgroup/memory.max", "max\n");
  CHECK_EQ(root.Free(), 1000 * 1024);
}

TEST(AContainerHasLess) {
  const Root root;
  root.Write("proc/meminfo", "MemAvailable: 1000 kB\n");
  root.Write("sys/fs/cgroup/memory.max", "500000\n");
  root.Write("sys/fs/cgroup/memory.current", "450000\n");
  CHECK_EQ(root.Free(), 50000);
  root.Write("sys/fs/cgroup/memory.stat", "anon 1\ninactive_file 400000\n");
  CHECK_EQ(root.Free(), 450000);
  root.Write("sys/fs/cgroup/memory.current", "900000\n");
  CHECK_EQ(root.Free(), 0);
}

TEST(TheGroupsAboveCountAndThoseOfVersion1) {
  const Root root;
  root.Write("proc/meminfo", "MemAvailable: 1000 kB\n");
  root.Write("proc/self/cgroup", "4:cpu,memory:/pod/box\n0::/slice/unit\n");
  root.Write("sys/fs/cgroup/slice/unit/memory.max", "max\n");
  root.Write("sys/fs/cgroup/slice/memory.max", "900000\n");
  root.Write("sys/fs/cgroup/slice/memory.current", "100000\n");
  CHECK_EQ(root.Free(), 800000);
  root.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  CHECK_EQ(root.Free(), 800000);
  root.Write("sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "700000\n");
  root.Write("sys/fs/cgroup/memory/pod/memory.usage_in_bytes", "500000\n");
  root.Write("sys/fs/cgroup/memory/pod/memory.stat",
             "inactive_file 1\ntotal_inactive_file 50000\n");
  CHECK_EQ(root.Free(), 250000);
  root.Write("proc/self/cgroup", "4:memory:/../pod\n0::/../slice\n");
  CHECK_EQ(root.Free(), 1000 * 1024);
}

}  // namespace
}  // namespace edgereason
