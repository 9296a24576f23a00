// A place for one request: what it said so far, for whoever asks, from any thread.
//
// Who writes what. The caller of er_submit fills a place that is free and sets its id last. From
// then on the thread that polls writes, and others read: text only ever grows, and its length is
// told after the text is there. er_free of a request that runs leaves the place to the poller.
// Everything that a poller needs is allocated by er_submit.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "edgereason.h"
#include "edgereason/event.h"
#include "edgereason/phase.h"

namespace edgereason {

// Text that grows up to a size that is fixed before. One writer, any readers.
class GrowingText {
 public:
  void Reserve(std::size_t num_bytes) {
    bytes_.assign(num_bytes, '\0');
    size_.store(0, std::memory_order_release);
  }
  void Add(std::string_view text) noexcept;
  std::string_view view() const noexcept {
    return {bytes_.data(), size_.load(std::memory_order_acquire)};
  }

 private:
  std::vector<char> bytes_;
  std::atomic<std::size_t> size_{0};
};

// A short text that is replaced. One writer, any readers, which try again where they came between.
class ChangingText {
 public:
  void Clear() noexcept { Set({}); }
  void Set(std::string_view text) noexcept;                          // at most Event::kTextBytes
  std::size_t Read(char (&text)[Event::kTextBytes]) const noexcept;  // returns its bytes

 private:
  static constexpr std::size_t kWords = Event::kTextBytes / sizeof(std::uint64_t);
  std::atomic<std::uint32_t> version_{0};  // odd: being written
  std::atomic<std::uint32_t> size_{0};
  std::array<std::atomic<std::uint64_t>, kWords> words_{};
};

class Plan;

}  // namespace edgereason

struct er_request {
  enum class State : std::uint8_t { kFree, kPreparing, kRunning, kDone };

  er_model* model = nullptr;
  std::atomic<State> state{State::kFree};
  std::atomic<bool> abandoned{false};         // er_free was called while it ran
  std::atomic<edgereason::SequenceId> id{0};  // 0: no event can be its
  void* user = nullptr;
  const edgereason::Plan* plan = nullptr;
  double arrival_ms = 0;
  double deadline_ms = 0;  // from arrival; 0: none
  bool keep = false;

  edgereason::GrowingText answer;
  edgereason::ChangingText probe;
  std::vector<std::unique_ptr<edgereason::PhaseResult>> results;  // room for all; see num_results
  std::atomic<std::size_t> num_results{0};
  std::size_t shown[2] = {};  // bytes of the running phase that were told, by Channel

  // Of a request that is over.
  std::vector<char> final_answer;  // ends with 0
  std::size_t num_final_bytes = 0;
  er_reason finish = ER_STOP;
  bool failed = false;
  edgereason::Fault fault = edgereason::Fault::kEngine;
  std::int64_t failed_step = 0;

  // Before it runs. `num_bytes`: of the longest answer.
  void Prepare(const edgereason::Plan* of, std::size_t num_bytes);
  // By the thread that polls. The result is its own from here on.
  void Add(edgereason::PhaseResult* result) noexcept;
  void Finish() noexcept;

  const edgereason::PhaseResult* Result(std::size_t index) const noexcept {
    return index < num_results.load(std::memory_order_acquire) ? results[index].get() : nullptr;
  }
  std::size_t Best(char* text, std::size_t capacity, er_best* where_from) const noexcept;
  er_result Report() const noexcept;
};
