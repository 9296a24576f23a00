// The engine over libllama: any GGUF that it opens, on CPU or GPU.
//
//   LlamaEngine engine({.path = "model.gguf", .context = 4096});
//   engine.Decode(rows);
//
// A step is one llama_decode wherever it can be:
//
// * A batch of libllama holds tokens or embeddings, not both. A step that mixes them looks the
//   tokens' embeddings up itself. A model that does more to a token than that takes two decodes.
// * Hidden states are copied out while the graph runs. libllama's own way to them would want output
//   of every row, a prompt's as well. Where nobody reads logits the graph ends with the states.
//
// Opening takes over libllama's log and abort handlers for the whole process.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "activations.h"
#include "edgereason/engine.h"
#include "model_file.h"
#include "vocab.h"

struct ggml_tensor;
struct llama_adapter_lora;
struct llama_context;

namespace edgereason {

class EmbeddingTable;

struct LlamaOptions {
  std::string path = {};
  std::vector<LoraFile> loras = {};  // for all sequences alike, as long as the model is open
  std::int32_t context =
      0;  // KV cells, rounded up to 256; 0: what the model was trained for, at most kDefaultContext
  KvType kv_type = KvType::kF16;
  std::int32_t gpu_layers = -1;  // -1: all where the library has a GPU; 0: CPU only
  std::int32_t max_seqs = 16;    // at most 64
  std::int32_t max_rows = 512;
  std::int32_t max_threads = 0;  // 0: all cores of the machine
  bool hidden = false;           // give hidden states
  bool activations = false;      // collect what goes into each weight; slower
  bool mmap = true;
  std::int64_t memory_limit = 0;  // bytes the model may take; 0: what is free

  static constexpr std::int32_t kDefaultContext = 8192;
};

// What a model that is opened so is weighed by before it is.
MemoryPlan PlanOf(const LlamaOptions& options, std::int32_t trained_context);

class LlamaEngine final : public Engine {
 public:
  // Throws kModelNotFound, kBundle, kMemoryLimit, kUnsupported or kUsage.
  explicit LlamaEngine(const LlamaOptions& options);
  ~LlamaEngine() override;

  const EngineInfo& info() const noexcept override { return info_; }
  const Vocab& vocab() const noexcept override { return vocab_; }
  std::string last_error() const override { return last_error_; }

  std::vector<Token> Tokenize(std::string_view text, bool parse_control) const override {
    return edgereason::Tokenize(*model_, text, parse_control);
  }
  Status Decode(std::span<const Row> rows) noexcept override;
  std::span<const float> Logits(std::int32_t row) const noexcept override;
  std::span<const float> Hidden(std::int32_t row) const noexcept override;
  bool Embed(Token token, std::span<float> row) noexcept override;
  bool Fork(SeqId from, SeqId to, Pos len) noexcept override;
  bool Trim(SeqId seq, Pos len) noexcept override;
  void Drop(SeqId seq) noexcept override;
  std::vector<std::uint8_t> Save(SeqId seq) const override;
  void Load(SeqId seq, std::span<const std::uint8_t> state) override;
  void LoadPrefix(SeqId seq, const PrefixKv& prefix) override;
  void AddAdapters(ContextKey key, const Adapters& adapters) override;
  bool Use(ContextKey key) noexcept override;
  void SetThreads(std::int32_t num_threads) noexcept override;

  // A value of the model file's metadata as text, e.g. "tokenizer.chat_template".
  std::optional<std::string> Meta(const std::string& key) const { return MetaOf(*model_, key); }

  // What went into each weight so far. Throws kUsage where `activations` was not asked for.
  const std::vector<Activation>& activations() const;

 private:
  struct ContextDeleter {
    void operator()(llama_context* context) const noexcept;
  };
  struct Result {  // of one row; null: none
    const float* logits = nullptr;
    const float* hidden = nullptr;
  };
  enum class Kind : std::uint8_t { kToken, kEmbedding };  // rows that one llama_decode can take

  void OpenModel(const LlamaOptions& options, const ModelFile& file);
  void OpenContext(const LlamaOptions& options);
  struct InForce {                             // what is set while rows of a key are computed
    std::vector<llama_adapter_lora*> loras{};  // the model frees them
    std::vector<float> scales{};
    std::vector<float> steering{};  // [layers - 1, num_embd], from layer 1 on; empty: none
  };
  void LoadLoras(const std::vector<LoraFile>& files, InForce* in_force);
  bool Set(InForce* in_force) noexcept;
  void FillInfo(const LlamaOptions& options, const ModelFile& file);
  void Reserve();

  static bool OnTensor(ggml_tensor* tensor, bool ask, void* self) noexcept;
  void KeepStates(const ggml_tensor* states) noexcept;
  bool NamesItsStates();

  Kind KindOf(const Row& row) const noexcept;
  std::int32_t TakePass(std::span<const Row> rows, Kind kind);
  Status RunPass(std::int32_t num_rows, Kind kind);
  bool Collect(std::int32_t num_rows, std::int32_t first_state, bool copy);
  bool RollBack();
  bool Holds(SeqId seq) const noexcept;
  // Tokens are fed as the model file has them: an adapter may change that.
  bool plain_rows() const noexcept { return key_ == 0 || in_force_.at(key_).loras.empty(); }
  bool CanCut(SeqId seq, Pos len) const noexcept;
  void CheckEmpty(SeqId seq) const;
  void SetState(SeqId seq, std::span<const std::uint8_t> state, Pos length);
  Status Fail(std::string why);

  ModelPtr model_;
  std::unique_ptr<Activations> activations_;  // null: not collected
  std::unique_ptr<EmbeddingTable> table_;     // null: tokens and embeddings take a pass each
  std::unique_ptr<llama_context, ContextDeleter> context_;
  EngineInfo info_;
  Vocab vocab_;
  std::string last_error_;
  std::map<ContextKey, InForce> in_force_;  // of key 0: as it was opened
  ContextKey key_ = 0;                      // that is set now
  std::uint64_t fingerprint_ = 0;           // a saved KV fits the model and KV type it came from
  bool cuts_anywhere_ =
      true;  // false: the state of a recurrent model exists only at the end of its sequence

  std::vector<Pos> length_;           // [max_seqs], tokens whose KV is there
  std::vector<Pos> ahead_;            // [max_seqs], rows of this step
  std::vector<std::uint8_t> behind_;  // [max_seqs], a row of this sequence waits for a later pass

  // The batch handed to libllama, [max_rows] each but the embeddings: [max_rows * num_embd],
  // touched when used.
  std::vector<Token> tokens_;
  std::unique_ptr<float[]> embeddings_;
  std::vector<Pos> positions_;
  std::vector<std::int32_t> num_seqs_;
  std::vector<SeqId> seqs_;
  std::vector<SeqId*> seq_ptrs_;
  std::vector<std::int8_t> outputs_;

  std::vector<std::uint8_t> sampled_;  // [max_rows], logits of this row of the pass are read
  bool skips_head_ = false;            // nobody reads logits of this pass: it ends with the states
  std::vector<std::int32_t> row_of_;   // [max_rows], row of the step behind each row of the pass
  std::vector<std::uint8_t> done_;     // [max_rows]
  std::vector<Result> results_;        // [max_rows]
  bool look_up_ = false;               // this step feeds tokens as embeddings
  // Logits of all passes but the last, [max_seqs, num_vocab], touched when used.
  std::unique_ptr<float[]> kept_logits_;
  std::int32_t num_kept_ = 0;
  // States of the rows with output of all passes, [max_seqs, num_embd]; null: none are wanted.
  std::unique_ptr<float[]> states_;
  std::int32_t num_states_ = 0;
};

}  // namespace edgereason
