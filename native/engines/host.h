// An engine whose model lives elsewhere: in Python, behind a table of functions. Rows, cells and
// lengths are checked here, so the model is only ever asked for what can be done.
//
//   HostEngine engine(
//       {.info = info, .vocab_path = "vocab.gguf", .model = model, .calls = &kCalls});
//   engine.Decode(rows);      // one call of `decode`, with all rows of the step
//
// Decode, Fork, Trim, Drop, Save, Load and SetThreads call the model, on whichever thread they come
// from; Tokenize and the vocabulary never do. `CloseHosts` ends all calls for good.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "context/cells.h"
#include "edgereason/engine.h"
#include "vocab.h"

namespace edgereason {

// The rows of one step, column by column; valid during the call.
struct HostRows {
  std::int32_t num_rows = 0;
  std::int32_t num_outputs = 0;
  const SeqId* seqs = nullptr;            // [num_rows]
  const Pos* positions = nullptr;         // [num_rows]
  const Token* tokens = nullptr;          // [num_rows]; kNoToken: its embedding is taken
  const std::uint8_t* outputs = nullptr;  // [num_rows], 1: logits wanted
  const float* embeddings = nullptr;      // [num_rows, num_embd]; null where no row has one
};

// What the model answers: read in place until the next `decode`.
struct HostResults {
  const float* logits = nullptr;  // [num_outputs, num_vocab], in the order of the rows
  const float* hidden = nullptr;  // [num_outputs, num_embd]; null without kHiddenOut
};

// Each call but `release` returns kOk, or the reason in `why`: kNoCells where nothing was changed
// (`decode` only), kFailed where the model is broken. None may throw; no `noexcept`, since Cython
// does not write it.
struct HostCalls {
  using Why = std::string;
  Status (*decode)(void* model, const HostRows* rows, HostResults* results, Why* why);
  Status (*fork)(void* model, SeqId from, SeqId to, Pos len, Why* why);
  Status (*trim)(void* model, SeqId seq, Pos len, Why* why);  // 0: drop
  Status (*save)(void* model, SeqId seq, std::vector<std::uint8_t>* body, Why* why);
  Status (*load)(void* model, SeqId seq, Pos len, const std::uint8_t* body, std::size_t num_bytes,
                 Why* why);
  Status (*set_threads)(void* model, std::int32_t num_threads, Why* why);
  void (*release)(void* model);  // the last call
};

struct HostOptions {
  EngineInfo info = {};  // num_vocab must be what the vocabulary has
  std::string vocab_path = {};
  std::string fingerprint = {};  // names the model and KV type: saved KV fits no other
  void* model = nullptr;
  const HostCalls* calls = nullptr;
};

// From here on no model is called: steps fail, engines leak theirs. Waits for calls on their way,
// so the caller must not hold what they need. For a process that ends while engines still run.
void CloseHosts() noexcept;

// For what else must not happen after that: false where it has been called, else LeaveHosts follows.
bool EnterHosts() noexcept;
void LeaveHosts() noexcept;

class HostEngine final : public Engine {
 public:
  // Takes over `model`, also where it throws: kModelNotFound, kBundle or kUsage.
  explicit HostEngine(const HostOptions& options);
  ~HostEngine() override;

  const EngineInfo& info() const noexcept override { return info_; }
  const Vocab& vocab() const noexcept override { return file_->vocab(); }
  std::string last_error() const override;

  std::vector<Token> Tokenize(std::string_view text, bool parse_control) const override {
    return file_->Tokenize(text, parse_control);
  }
  Status Decode(std::span<const Row> rows) noexcept override;
  std::span<const float> Logits(std::int32_t row) const noexcept override;
  std::span<const float> Hidden(std::int32_t row) const noexcept override;
  bool Fork(SeqId from, SeqId to, Pos len) noexcept override;
  bool Trim(SeqId seq, Pos len) noexcept override;
  void Drop(SeqId seq) noexcept override;
  std::vector<std::uint8_t> Save(SeqId seq) const override;
  void Load(SeqId seq, std::span<const std::uint8_t> state) override;
  // A model with kPrefixKv has its KV as `load` gets it: layer by layer keys, then values,
  // [kv_heads, positions, head_dim], in float32 or float16.
  void LoadPrefix(SeqId seq, const PrefixKv& prefix) override;
  void SetThreads(std::int32_t num_threads) noexcept override;

  // A value of the vocabulary file's metadata as text.
  std::optional<std::string> Meta(const std::string& key) const { return file_->Meta(key); }

 private:
  struct Releaser {
    const HostCalls* calls;
    void operator()(void* model) const noexcept;
  };

  bool Holds(SeqId seq) const noexcept { return seq >= 0 && seq < info_.max_seqs; }
  void LoadBody(SeqId seq, std::span<const std::uint8_t> body, Pos length);
  Pos& Length(SeqId seq) noexcept { return length_[static_cast<std::size_t>(seq)]; }
  Status Fail(std::string why) const;
  HostRows Columns(std::span<const Row> rows);
  std::span<const float> Result(std::int32_t row, const float* results,
                                std::int32_t width) const noexcept;

  std::unique_ptr<void, Releaser> model_;
  const HostCalls* calls_;
  EngineInfo info_;
  std::unique_ptr<const VocabFile> file_;
  std::uint64_t fingerprint_ = 0;
  CellLedger cells_;
  bool broken_ = false;  // the model failed where no error can be returned
  mutable std::mutex error_mutex_;
  mutable std::string last_error_;

  std::vector<Pos> length_;          // [max_seqs], tokens whose KV is there
  std::vector<std::int32_t> ahead_;  // [max_seqs], rows of this step
  // The columns handed to the model, [max_rows] each but the embeddings: [max_rows * num_embd].
  std::vector<SeqId> seqs_;
  std::vector<Pos> positions_;
  std::vector<Token> tokens_;
  std::vector<std::uint8_t> outputs_;
  std::unique_ptr<float[]> embeddings_;  // touched when used
  std::vector<std::int32_t> output_of_;  // [max_rows], index of the row's output; -1: none
  HostResults results_;
};

}  // namespace edgereason
