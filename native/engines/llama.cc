#include <ggml-backend.h>
#include <llama.h>

#include <algorithm>
#include <bit>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <thread>
#include <utility>

#include "context/rows.h"
#include "embedding_table.h"
#include "guards.h"
#include "llama_engine.h"
#include "prefix_state.h"
#include "state.h"

namespace edgereason {
namespace {

constexpr std::int32_t kMostSeqs = 64;
constexpr std::string_view kStates = "result_norm";  // after the final norm, rows with output only

void CheckOptions(const LlamaOptions& options) {
  const auto check = [](bool ok, const char* what, std::int32_t got) {
    if (!ok) throw Error(ErrorCode::kUsage, std::string(what) + ", got " + std::to_string(got));
  };
  check(options.context >= 0, "context must be 0 (the model's) or more", options.context);
  check(options.gpu_layers >= -1, "gpu_layers must be -1 (all) or more", options.gpu_layers);
  check(options.max_seqs >= 1 && options.max_seqs <= kMostSeqs, "max_seqs must be in [1, 64]",
        options.max_seqs);
  check(options.max_rows >= 1, "max_rows must be 1 or more", options.max_rows);
  if (options.max_rows < options.max_seqs) {
    throw Error(ErrorCode::kUsage, "max_rows must be at least max_seqs (" +
                                       std::to_string(options.max_seqs) + "), got " +
                                       std::to_string(options.max_rows));
  }
  check(options.max_threads >= 0, "max_threads must be 0 (all cores) or more", options.max_threads);
  if (options.gpu_layers > 0 && !llama_supports_gpu_offload()) {
    throw Error(ErrorCode::kUnsupported,
                "layers on a GPU were asked for, but the installed llama-cpp-python has no GPU",
                "build it for the GPU, e.g. with CMAKE_ARGS=-DGGML_CUDA=on, or ask for 0 layers");
  }
}

std::int32_t NumThreads(const LlamaOptions& options) {
  if (options.max_threads > 0) return options.max_threads;
  return std::max(1, static_cast<std::int32_t>(std::thread::hardware_concurrency()));
}

std::int64_t LoraBytes(const LoraFile& file) {
  std::error_code missing;
  const auto bytes = std::filesystem::file_size(file.path, missing);
  if (missing) throw Error(ErrorCode::kModelNotFound, "no such adapter: " + file.path);
  return static_cast<std::int64_t>(bytes);
}

// What is in it: KV that was saved with other weights must not be taken.
void AddLora(const LoraFile& lora, Hash* hash) {
  std::ifstream file(lora.path, std::ios::binary);
  std::vector<char> block(1 << 20);
  while (file.read(block.data(), std::ssize(block)) || file.gcount() > 0) {
    hash->Add({reinterpret_cast<const std::uint8_t*>(block.data()),
               static_cast<std::size_t>(file.gcount())});
  }
  hash->Add(std::bit_cast<std::uint32_t>(lora.scale));
}

std::int32_t NumCells(const LlamaOptions& options, std::int32_t trained_context) {
  if (options.context > 0) return options.context;
  return trained_context > 0 ? std::min(trained_context, LlamaOptions::kDefaultContext)
                             : LlamaOptions::kDefaultContext;
}

}  // namespace

MemoryPlan PlanOf(const LlamaOptions& options, std::int32_t trained_context) {
  return {.cells = NumCells(options, trained_context),
          .kv_type = options.kv_type,
          .rows = options.max_rows,
          .outputs = options.max_seqs,
          .requests = options.max_seqs};
}

void LlamaEngine::ContextDeleter::operator()(llama_context* context) const noexcept {
  llama_free(context);
}

LlamaEngine::LlamaEngine(const LlamaOptions& options) {
  InitLibrary();
  CheckOptions(options);
  const ModelFile file = [&] {
    const LogCapture quiet;
    ModelFile found = ReadModelFile(options.path);
    for (const LoraFile& lora : options.loras) found.file_bytes += LoraBytes(lora);
    return found;
  }();
  const MemoryPlan plan = PlanOf(options, file.trained_context);
  const std::int64_t free_bytes = FreeMemoryBytes();
  const bool limited =
      options.memory_limit > 0 && (free_bytes < 0 || options.memory_limit < free_bytes);
  CheckMemory(file, plan, limited ? options.memory_limit : free_bytes);
  OpenModel(options, file);
  OpenContext(options);
  InForce opened;
  LoadLoras(options.loras, &opened);
  FillInfo(options, file);
  if (!options.loras.empty() && !Set(&opened)) {
    throw Error(ErrorCode::kEngine, "libllama does not take the adapters");
  }
  in_force_[0] = std::move(opened);
  vocab_ = ReadVocab(*model_);
  Reserve();
  if (options.loras.empty()) {  // an adapter may change the embeddings
    table_ = EmbeddingTable::Open(file.path, info_.num_vocab, info_.num_embd);
  }
  if (table_ && (info_.caps & kEmbedIn) != 0) info_.caps |= kTokenRows;
  if (NamesItsStates()) info_.caps |= kHiddenOut;
}

LlamaEngine::~LlamaEngine() = default;

void LlamaEngine::OpenModel(const LlamaOptions& options, const ModelFile& file) {
  const LogCapture log;
  const AbortGuard guard;
  ggml_backend_dev_t no_devices[] = {nullptr};
  llama_model_params params = llama_model_default_params();
  params.n_gpu_layers = options.gpu_layers;
  if (options.gpu_layers == 0) params.devices = no_devices;
  params.load_mode = options.mmap ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE;
  std::string why;
  try {
    model_.reset(llama_model_load_from_file(file.path.c_str(), params));
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (!model_) {
    throw Error(ErrorCode::kBundle,
                "cannot load " + file.path + ": " + (why.empty() ? log.Text() : why),
                "it may be damaged, or of a kind that this libllama does not know");
  }
  if (!llama_model_has_decoder(model_.get()) || llama_model_has_encoder(model_.get()) ||
      llama_model_is_diffusion(model_.get())) {
    throw Error(ErrorCode::kUnsupported, file.path + " is not a decoder-only language model");
  }
}

void LlamaEngine::OpenContext(const LlamaOptions& options) {
  const LogCapture log;
  const AbortGuard guard;
  const std::int32_t trained = llama_model_n_ctx_train(model_.get());
  const std::int32_t cells = options.context > 0
                                 ? options.context
                                 : std::min(std::max(trained, 256), LlamaOptions::kDefaultContext);
  const ggml_type kv_type = options.kv_type == KvType::kQ8_0 ? GGML_TYPE_Q8_0 : GGML_TYPE_F16;
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<std::uint32_t>(cells);
  params.n_batch = params.n_ubatch = static_cast<std::uint32_t>(options.max_rows);
  params.n_seq_max = static_cast<std::uint32_t>(options.max_seqs);
  // Room for the logits of every row of a step would be the largest buffer of all.
  params.n_outputs_max = static_cast<std::uint32_t>(std::min(options.max_seqs, options.max_rows));
  params.n_threads = params.n_threads_batch = NumThreads(options);
  params.pooling_type = LLAMA_POOLING_TYPE_NONE;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_AUTO;
  params.type_k = params.type_v = kv_type;
  params.offload_kqv = options.gpu_layers != 0;
  params.op_offload = options.gpu_layers != 0;
  params.kv_unified = true;
  if (options.activations) activations_ = std::make_unique<Activations>();
  if (options.hidden && llama_model_n_embd_out(model_.get()) == llama_model_n_embd(model_.get())) {
    states_ = std::make_unique_for_overwrite<float[]>(
        static_cast<std::size_t>(options.max_seqs) *
        static_cast<std::size_t>(llama_model_n_embd(model_.get())));
  }
  if (activations_ || states_) {
    params.cb_eval = &OnTensor;
    params.cb_eval_user_data = this;
  }
  std::string why;
  try {
    context_.reset(llama_init_from_model(model_.get(), params));
  } catch (const std::exception& error) {
    why = error.what();
  }
  if (context_) return;
  const std::string said = why.empty() ? log.Text() : why;
  const bool memory = said.find("alloc") != std::string::npos;
  throw Error(memory ? ErrorCode::kMemoryLimit : ErrorCode::kUnsupported,
              "cannot make a context of " + std::to_string(cells) + ": " + said,
              memory ? "try a smaller --context or --kv q8_0" : "");
}

void LlamaEngine::LoadLoras(const std::vector<LoraFile>& files, InForce* in_force) {
  auto& [loras, scales, steering] = *in_force;
  for (const LoraFile& file : files) {
    const LogCapture log;
    const AbortGuard guard;
    loras.push_back(llama_adapter_lora_init(model_.get(), file.path.c_str()));
    scales.push_back(file.scale);
    if (loras.back() == nullptr) {
      throw Error(ErrorCode::kBundle, "cannot use the adapter " + file.path + ": " + log.Text(),
                  "it must be a GGUF of a LoRA that was trained on this very model");
    }
    if (llama_adapter_get_alora_n_invocation_tokens(loras.back()) > 0) {
      throw Error(ErrorCode::kUnsupported,
                  file.path + " is an adapter that some tokens switch on (aLoRA)");
    }
  }
}

bool LlamaEngine::Set(InForce* in_force) noexcept try {
  auto& [loras, scales, steering] = *in_force;
  if (llama_set_adapters_lora(context_.get(), loras.data(), loras.size(), scales.data()) != 0) {
    return false;
  }
  const float* rows = steering.empty() ? nullptr : steering.data();
  const auto last = static_cast<std::int32_t>(steering.size()) / info_.num_embd;
  return llama_set_adapter_cvec(context_.get(), rows, steering.size(), info_.num_embd, 1, last) ==
         0;
} catch (const std::exception&) {
  return false;
}

void LlamaEngine::AddAdapters(ContextKey key, const Adapters& adapters) {
  InForce added = in_force_.at(0);
  LoadLoras(adapters.loras, &added);
  const auto embd = static_cast<std::size_t>(info_.num_embd);
  const auto layers = static_cast<std::size_t>(llama_model_n_layer(model_.get()));
  const std::span<const float> rows = adapters.steering;
  if (rows.size() % embd != 0 || rows.size() > layers * embd) {
    throw Error(ErrorCode::kBundle,
                "a steering vector of " + std::to_string(rows.size()) + " numbers does not fit " +
                    std::to_string(layers) + " layers of " + std::to_string(embd),
                "it must be made from this very model");
  }
  // libllama adds nothing behind layer 0: its rows begin with layer 1.
  if (rows.size() > embd) added.steering.assign(rows.begin() + info_.num_embd, rows.end());
  in_force_[key] = std::move(added);
}

bool LlamaEngine::Use(ContextKey key) noexcept {
  if (key == key_) return true;
  const auto found = in_force_.find(key);
  if (found == in_force_.end() || !Set(&found->second)) return false;
  key_ = key;
  return true;
}

void LlamaEngine::FillInfo(const LlamaOptions& options, const ModelFile& file) {
  const llama_model* model = model_.get();
  cuts_anywhere_ = !llama_model_is_recurrent(model) && !llama_model_is_hybrid(model);
  info_.caps = kLogits | kFork | kSaveKv | kSteer | kLora;
  if (cuts_anywhere_) info_.caps |= kTrim;
  const llama_rope_type turns = llama_model_rope_type(model);
  // Of other ways to tell positions nobody trains prefixes; a window would let go of one.
  const bool plain = turns == LLAMA_ROPE_TYPE_NORM || turns == LLAMA_ROPE_TYPE_NEOX;
  if (cuts_anywhere_ && plain && llama_model_n_swa(model) == 0) info_.caps |= kPrefixKv;
  info_.num_embd = llama_model_n_embd(model);
  const llama_rope_type rope = llama_model_rope_type(model);
  // Models that see images give an embedding several positions; those are not fed back.
  if (llama_model_n_embd_inp(model) == info_.num_embd && rope != LLAMA_ROPE_TYPE_MROPE &&
      rope != LLAMA_ROPE_TYPE_IMROPE) {
    info_.caps |= kEmbedIn;
  }
  info_.num_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  info_.num_cells = static_cast<std::int32_t>(llama_n_ctx(context_.get()));
  info_.max_rows = static_cast<std::int32_t>(llama_n_ubatch(context_.get()));
  info_.max_seqs = options.max_seqs;
  info_.max_threads = NumThreads(options);
  info_.cell_bytes = CellBytes(file, options.kv_type);
  Hash hash;
  hash.Add(llama_model_size(model))
      .Add(llama_model_n_params(model))
      .Add(static_cast<std::uint64_t>(info_.num_vocab))
      .Add(static_cast<std::uint64_t>(info_.cell_bytes));
  for (const LoraFile& lora : options.loras) AddLora(lora, &hash);
  fingerprint_ = hash.value();
}

void LlamaEngine::Reserve() {
  const auto rows = static_cast<std::size_t>(info_.max_rows);
  const auto seqs = static_cast<std::size_t>(info_.max_seqs);
  const auto embd = static_cast<std::size_t>(info_.num_embd);
  length_.resize(seqs);
  ahead_.resize(seqs);
  behind_.resize(seqs);
  tokens_.resize(rows);
  embeddings_ = std::make_unique_for_overwrite<float[]>(rows * embd);
  positions_.resize(rows);
  num_seqs_.assign(rows, 1);
  seqs_.resize(rows);
  for (SeqId& seq : seqs_) seq_ptrs_.push_back(&seq);
  outputs_.resize(rows);
  sampled_.resize(rows);
  row_of_.resize(rows);
  done_.resize(rows);
  results_.resize(rows);
  kept_logits_ =
      std::make_unique_for_overwrite<float[]>(seqs * static_cast<std::size_t>(info_.num_vocab));
}

// Copies the states of rows with output out of the graph; they are overwritten soon after.
void LlamaEngine::KeepStates(const ggml_tensor* states) noexcept {
  const bool known = states->type == GGML_TYPE_F32 && states->ne[0] == info_.num_embd &&
                     ggml_is_contiguous(states);
  if (!known || num_states_ + states->ne[1] > info_.max_seqs) return;
  ggml_backend_tensor_get(states, states_.get() + std::ptrdiff_t{num_states_} * info_.num_embd, 0,
                          ggml_nbytes(states));
  num_states_ += static_cast<std::int32_t>(states->ne[1]);
}

bool LlamaEngine::OnTensor(ggml_tensor* tensor, bool ask, void* self) noexcept {
  auto* const engine = static_cast<LlamaEngine*>(self);
  const bool states = engine->states_ && std::string_view(ggml_get_name(tensor)) == kStates;
  const bool activations =
      engine->activations_ && Activations::OnTensor(tensor, true, engine->activations_.get());
  if (ask) return states || activations;
  if (states) engine->KeepStates(tensor);
  if (states && engine->skips_head_) return false;
  return !activations || Activations::OnTensor(tensor, false, engine->activations_.get());
}

// Whether the state after the final norm is found in the graph: one row is decoded to see.
bool LlamaEngine::NamesItsStates() {
  if (!states_) return false;
  const Row row{.token = 0, .output = true};
  const bool found = Decode({&row, 1}) == Status::kOk && num_states_ == 1;
  Drop(0);
  return found;
}

Status LlamaEngine::Fail(std::string why) {
  last_error_ = std::move(why);
  return Status::kFailed;
}

bool LlamaEngine::Holds(SeqId seq) const noexcept { return seq >= 0 && seq < info_.max_seqs; }

LlamaEngine::Kind LlamaEngine::KindOf(const Row& row) const noexcept {
  return row.embedding != nullptr || look_up_ ? Kind::kEmbedding : Kind::kToken;
}

// Puts every row of a kind that does not overtake another of its sequence into the batch. -1: a
// row's embedding could not be read.
std::int32_t LlamaEngine::TakePass(std::span<const Row> rows, Kind kind) {
  std::fill(behind_.begin(), behind_.end(), std::uint8_t{0});
  const auto embd = static_cast<std::size_t>(info_.num_embd);
  std::size_t num = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    if (done_[i] != 0) continue;
    if (KindOf(row) != kind || behind_[static_cast<std::size_t>(row.seq)] != 0) {
      behind_[static_cast<std::size_t>(row.seq)] = 1;
      continue;
    }
    done_[i] = 1;
    row_of_[num] = static_cast<std::int32_t>(i);
    tokens_[num] = row.token;
    float* const embedding = embeddings_.get() + num * embd;
    if (row.embedding != nullptr) {
      std::copy_n(row.embedding, embd, embedding);
    } else if (kind == Kind::kEmbedding && !table_->Read(row.token, embedding)) {
      return -1;
    }
    positions_[num] = row.pos;
    seqs_[num] = row.seq;
    outputs_[num] = row.output;
    sampled_[num] = row.output && (row.logits || (info_.caps & kHiddenOut) == 0);
    ++num;
  }
  return static_cast<std::int32_t>(num);
}

Status LlamaEngine::RunPass(std::int32_t num_rows, Kind kind) {
  const bool is_token = kind == Kind::kToken;
  const llama_batch batch{.n_tokens = num_rows,
                          .token = is_token ? tokens_.data() : nullptr,
                          .embd = is_token ? nullptr : embeddings_.get(),
                          .pos = positions_.data(),
                          .n_seq_id = num_seqs_.data(),
                          .seq_id = seq_ptrs_.data(),
                          .logits = outputs_.data()};
  const auto any = [num_rows](const auto& flags) {
    return std::any_of(flags.begin(), flags.begin() + num_rows, [](auto set) { return set != 0; });
  };
  skips_head_ = any(outputs_) && !any(sampled_);
  const LogCapture log;
  const std::int32_t code = llama_decode(context_.get(), batch);
  if (activations_ && activations_->failed()) return Fail("out of memory for activations");
  if (code == 0) return Status::kOk;
  if (code == 1) return Status::kNoCells;
  return Fail("llama_decode gave " + std::to_string(code) + ": " + log.Text());
}

// Rows with output come out in the order in which they went in. False: some have no state.
bool LlamaEngine::Collect(std::int32_t num_rows, std::int32_t first_state, bool copy) {
  const auto vocab = static_cast<std::size_t>(info_.num_vocab);
  const bool hidden = (info_.caps & kHiddenOut) != 0;
  std::int32_t state = first_state;
  for (std::int32_t i = 0; i < num_rows; ++i) {
    if (outputs_[static_cast<std::size_t>(i)] == 0) continue;
    Result result;
    const bool sampled = sampled_[static_cast<std::size_t>(i)] != 0;
    if (sampled) result.logits = llama_get_logits_ith(context_.get(), i);
    if (hidden) result.hidden = states_.get() + std::ptrdiff_t{state++} * info_.num_embd;
    if (copy && sampled) {
      float* logits = kept_logits_.get() + static_cast<std::size_t>(num_kept_++) * vocab;
      std::copy_n(result.logits, vocab, logits);
      result.logits = logits;
    }
    results_[static_cast<std::size_t>(row_of_[static_cast<std::size_t>(i)])] = result;
  }
  return !hidden || state == num_states_;
}

// Takes back what earlier passes of a failed step appended.
bool LlamaEngine::RollBack() {
  bool ok = true;
  for (SeqId seq = 0; seq < info_.max_seqs; ++seq) {
    const auto at = static_cast<std::size_t>(seq);
    if (ahead_[at] == 0) continue;
    ok &= llama_memory_seq_rm(llama_get_memory(context_.get()), seq, length_[at], -1);
  }
  return ok;
}

Status LlamaEngine::Decode(std::span<const Row> rows) noexcept try {
  std::fill(results_.begin(), results_.end(), Result{});
  if (rows.empty()) return Status::kOk;
  if (std::string why = CheckRows(rows, info_, length_, ahead_); !why.empty()) {
    return Fail(std::move(why));
  }
  std::fill_n(done_.begin(), rows.size(), std::uint8_t{0});
  num_kept_ = num_states_ = 0;
  look_up_ =
      table_ && plain_rows() && std::ranges::any_of(rows, [](const Row& r) { return r.embedding; });
  std::size_t num_done = 0;
  while (num_done < rows.size()) {
    const auto first = static_cast<std::size_t>(
        std::find(done_.begin(), done_.end(), std::uint8_t{0}) - done_.begin());
    const Kind kind = KindOf(rows[first]);
    const std::int32_t num = TakePass(rows, kind);
    if (num < 0) return Fail("the embedding of a token cannot be read from the model file");
    const std::int32_t first_state = num_states_;
    const Status status = RunPass(num, kind);
    if (status != Status::kOk) {
      std::fill(results_.begin(), results_.end(), Result{});
      if (num_done == 0 || RollBack()) return status;
      return Fail("a step failed half way and this model cannot take tokens back");
    }
    num_done += static_cast<std::size_t>(num);
    if (!Collect(num, first_state, num_done < rows.size())) {
      return Fail("the model gave no hidden state");
    }
  }
  for (std::size_t seq = 0; seq < length_.size(); ++seq) length_[seq] += ahead_[seq];
  return Status::kOk;
} catch (const std::exception& error) {
  try {
    return Fail(error.what());
  } catch (...) {
    return Status::kFailed;
  }
}

std::span<const float> LlamaEngine::Logits(std::int32_t row) const noexcept {
  if (row < 0 || row >= info_.max_rows) return {};
  const float* logits = results_[static_cast<std::size_t>(row)].logits;
  return {logits, logits ? static_cast<std::size_t>(info_.num_vocab) : 0};
}

std::span<const float> LlamaEngine::Hidden(std::int32_t row) const noexcept {
  if (row < 0 || row >= info_.max_rows) return {};
  const float* hidden = results_[static_cast<std::size_t>(row)].hidden;
  return {hidden, hidden ? static_cast<std::size_t>(info_.num_embd) : 0};
}

bool LlamaEngine::Embed(Token token, std::span<float> row) noexcept {
  const bool known = token >= 0 && token < info_.num_vocab;
  return known && table_ && plain_rows() && table_->Read(token, row.data());
}

// Layers with a sliding window let go of what lies behind it: a sequence can be cut only where all
// that its next token looks back to is still there.
bool LlamaEngine::CanCut(SeqId seq, Pos len) const noexcept {
  const Pos have = length_[static_cast<std::size_t>(seq)];
  if (len < 0 || len > have) return false;
  if (len == 0 || len == have) return true;
  if (!cuts_anywhere_) return false;
  const std::int32_t window = llama_model_n_swa(model_.get());
  return window == 0 || llama_memory_seq_pos_min(llama_get_memory(context_.get()), seq) <=
                            std::max(0, len - window + 1);
}

bool LlamaEngine::Fork(SeqId from, SeqId to, Pos len) noexcept try {
  if (!Holds(from) || !Holds(to) || from == to) return false;
  Pos& there = length_[static_cast<std::size_t>(to)];
  if (there != 0 || !CanCut(from, len)) return false;
  if (len > 0) llama_memory_seq_cp(llama_get_memory(context_.get()), from, to, 0, len);
  there = len;
  return true;
} catch (const std::exception&) {
  return false;
}

bool LlamaEngine::Trim(SeqId seq, Pos len) noexcept try {
  if (!Holds(seq) || !CanCut(seq, len)) return false;
  Pos& have = length_[static_cast<std::size_t>(seq)];
  if (len < have && !llama_memory_seq_rm(llama_get_memory(context_.get()), seq, len, -1)) {
    return false;
  }
  have = len;
  return true;
} catch (const std::exception&) {
  return false;
}

void LlamaEngine::Drop(SeqId seq) noexcept {
  if (!Holds(seq)) return;
  llama_memory_seq_rm(llama_get_memory(context_.get()), seq, -1, -1);
  length_[static_cast<std::size_t>(seq)] = 0;
}

std::vector<std::uint8_t> LlamaEngine::Save(SeqId seq) const {
  if (!Holds(seq)) throw Error(ErrorCode::kUsage, "no sequence " + std::to_string(seq));
  std::vector<std::uint8_t> state = NewState(llama_state_seq_get_size(context_.get(), seq));
  const std::span<std::uint8_t> body = Body(&state);
  if (llama_state_seq_get_data(context_.get(), body.data(), body.size(), seq) != body.size()) {
    throw Error(ErrorCode::kEngine, "the KV of a sequence could not be saved");
  }
  Seal(&state, fingerprint_, length_[static_cast<std::size_t>(seq)]);
  return state;
}

void LlamaEngine::CheckEmpty(SeqId seq) const {
  if (Holds(seq) && length_[static_cast<std::size_t>(seq)] == 0) return;
  throw Error(ErrorCode::kUsage,
              "KV is loaded into an empty sequence, got sequence " + std::to_string(seq));
}

void LlamaEngine::SetState(SeqId seq, std::span<const std::uint8_t> state, Pos length) {
  const LogCapture log;
  if (llama_state_seq_set_data(context_.get(), state.data(), state.size(), seq) == 0) {
    Drop(seq);
    throw Error(ErrorCode::kContextFull,
                "no room to load the KV of " + std::to_string(length) + " tokens: " + log.Text());
  }
  length_[static_cast<std::size_t>(seq)] = length;
}

void LlamaEngine::Load(SeqId seq, std::span<const std::uint8_t> state) {
  CheckEmpty(seq);
  const OpenState open = Unseal(state, fingerprint_);
  SetState(seq, open.body, open.length);
}

void LlamaEngine::LoadPrefix(SeqId seq, const PrefixKv& prefix) {
  if ((info_.caps & kPrefixKv) == 0) return Engine::LoadPrefix(seq, prefix);
  CheckEmpty(seq);
  const Row row{.seq = seq, .token = 0, .output = true};
  const Status status = Decode({&row, 1});
  if (status == Status::kNoCells) throw Error(ErrorCode::kContextFull, "no room for a prefix");
  if (status == Status::kFailed) throw Error(ErrorCode::kEngine, last_error_);
  std::vector<std::uint8_t> one(llama_state_seq_get_size(context_.get(), seq));
  const std::size_t num = llama_state_seq_get_data(context_.get(), one.data(), one.size(), seq);
  Drop(seq);
  if (num != one.size()) throw Error(ErrorCode::kEngine, "the KV of a token could not be read");
  const bool pairs = llama_model_rope_type(model_.get()) == LLAMA_ROPE_TYPE_NORM;
  SetState(seq, PrefixState(prefix, one, pairs), prefix.num_positions);
}

void LlamaEngine::SetThreads(std::int32_t num_threads) noexcept {
  const std::int32_t num = std::clamp(num_threads, 1, info_.max_threads);
  llama_set_n_threads(context_.get(), num, num);
}

const std::vector<Activation>& LlamaEngine::activations() const {
  if (!activations_) throw Error(ErrorCode::kUsage, "this engine does not collect activations");
  return activations_->entries();
}

}  // namespace edgereason
