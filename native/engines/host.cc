#include "host.h"

#include <ggml.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <utility>

#include "context/rows.h"
#include "state.h"

namespace edgereason {
namespace {

// Counts calls on their way into models, of all engines.
class Gate {
 public:
  bool Enter() noexcept {
    const std::scoped_lock lock(mutex_);
    if (closed_) return false;
    ++num_inside_;
    return true;
  }

  void Leave() noexcept {
    const std::scoped_lock lock(mutex_);
    if (--num_inside_ == 0) empty_.notify_all();
  }

  void Close() noexcept {
    std::unique_lock lock(mutex_);
    closed_ = true;
    empty_.wait(lock, [this] { return num_inside_ == 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable empty_;
  bool closed_ = false;
  int num_inside_ = 0;
};

// Never destroyed: threads may outlive static objects.
Gate& TheGate() {
  static Gate* gate = new Gate;
  return *gate;
}

// Makes one call of a model. `call` gets the reason to fill.
template <typename Call>
Status Ask(std::string* why, const Call& call) noexcept {
  if (!TheGate().Enter()) {
    *why = "the process is ending";
    return Status::kFailed;
  }
  const Status status = call(why);
  TheGate().Leave();
  return status;
}

std::unique_ptr<const VocabFile> OpenVocabulary(const HostOptions& options) {
  auto file = std::make_unique<const VocabFile>(options.vocab_path);
  const std::size_t num = file->vocab().pieces.size();
  if (num == static_cast<std::size_t>(options.info.num_vocab)) return file;
  throw Error(ErrorCode::kBundle,
              options.vocab_path + " has " + std::to_string(num) + " tokens, the model " +
                  std::to_string(options.info.num_vocab),
              "they are not of the same model: export it again");
}

}  // namespace

void CloseHosts() noexcept { TheGate().Close(); }
bool EnterHosts() noexcept { return TheGate().Enter(); }
void LeaveHosts() noexcept { TheGate().Leave(); }

void HostEngine::Releaser::operator()(void* model) const noexcept {
  std::string why;
  Ask(&why, [&](std::string*) {
    calls->release(model);
    return Status::kOk;
  });
}

HostEngine::HostEngine(const HostOptions& options)
    : model_(options.model, Releaser{options.calls}),
      calls_(options.calls),
      info_(options.info),
      file_(OpenVocabulary(options)),
      cells_(options.info.num_cells, options.info.max_seqs) {
  const std::span text(options.fingerprint);
  fingerprint_ = Hash()
                     .Add({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()})
                     .Add(static_cast<std::uint64_t>(info_.num_vocab))
                     .Add(static_cast<std::uint64_t>(info_.cell_bytes))
                     .value();
  const auto rows = static_cast<std::size_t>(info_.max_rows);
  const auto seqs = static_cast<std::size_t>(info_.max_seqs);
  length_.resize(seqs);
  ahead_.resize(seqs);
  seqs_.resize(rows);
  positions_.resize(rows);
  tokens_.resize(rows);
  outputs_.resize(rows);
  output_of_.assign(rows, -1);
  embeddings_ =
      std::make_unique_for_overwrite<float[]>(rows * static_cast<std::size_t>(info_.num_embd));
}

HostEngine::~HostEngine() = default;

std::string HostEngine::last_error() const {
  const std::scoped_lock lock(error_mutex_);
  return last_error_;
}

Status HostEngine::Fail(std::string why) const {
  const std::scoped_lock lock(error_mutex_);
  last_error_ = std::move(why);
  return Status::kFailed;
}

HostRows HostEngine::Columns(std::span<const Row> rows) {
  const auto embd = static_cast<std::size_t>(info_.num_embd);
  HostRows columns{.num_rows = static_cast<std::int32_t>(rows.size()),
                   .seqs = seqs_.data(),
                   .positions = positions_.data(),
                   .tokens = tokens_.data(),
                   .outputs = outputs_.data()};
  for (std::size_t i = 0; i < rows.size(); ++i) {
    seqs_[i] = rows[i].seq;
    positions_[i] = rows[i].pos;
    tokens_[i] = rows[i].embedding != nullptr ? kNoToken : rows[i].token;
    outputs_[i] = rows[i].output;
    output_of_[i] = rows[i].output ? columns.num_outputs++ : -1;
    if (rows[i].embedding != nullptr) {
      std::copy_n(rows[i].embedding, embd, embeddings_.get() + i * embd);
      columns.embeddings = embeddings_.get();
    }
  }
  return columns;
}

Status HostEngine::Decode(std::span<const Row> rows) noexcept try {
  std::fill(output_of_.begin(), output_of_.end(), -1);
  if (broken_) return Status::kFailed;
  if (rows.empty()) return Status::kOk;
  std::string why = CheckRows(rows, info_, length_, ahead_);
  if (!why.empty()) return Fail(std::move(why));
  if (!cells_.can_append(static_cast<std::int32_t>(rows.size()))) return Status::kNoCells;
  const HostRows columns = Columns(rows);
  const Status status = Ask(&why, [&](std::string* said) {
    return calls_->decode(model_.get(), &columns, &results_, said);
  });
  if (status != Status::kOk) {
    std::fill(output_of_.begin(), output_of_.end(), -1);
    return status == Status::kFailed ? Fail(std::move(why)) : status;
  }
  for (SeqId seq = 0; seq < info_.max_seqs; ++seq) {
    const std::int32_t num = ahead_[static_cast<std::size_t>(seq)];
    cells_.Append(seq, num);
    Length(seq) += num;
  }
  return Status::kOk;
} catch (const std::exception&) {
  return Status::kFailed;
}

std::span<const float> HostEngine::Result(std::int32_t row, const float* results,
                                          std::int32_t width) const noexcept {
  if (row < 0 || row >= info_.max_rows || results == nullptr) return {};
  const std::int32_t output = output_of_[static_cast<std::size_t>(row)];
  if (output < 0) return {};
  const auto size = static_cast<std::size_t>(width);
  return {results + static_cast<std::size_t>(output) * size, size};
}

std::span<const float> HostEngine::Logits(std::int32_t row) const noexcept {
  return Result(row, results_.logits, info_.num_vocab);
}

std::span<const float> HostEngine::Hidden(std::int32_t row) const noexcept {
  return Result(row, results_.hidden, info_.num_embd);
}

bool HostEngine::Fork(SeqId from, SeqId to, Pos len) noexcept try {
  if (!Holds(from) || !Holds(to) || from == to || (info_.caps & kFork) == 0) return false;
  if (Length(to) != 0 || len < 0 || len > Length(from)) return false;
  std::string why;
  if (len > 0 && Ask(&why, [&](std::string* said) {
                   return calls_->fork(model_.get(), from, to, len, said);
                 }) != Status::kOk) {
    Fail(std::move(why));
    return false;
  }
  cells_.Share(from, to, len);
  Length(to) = len;
  return true;
} catch (const std::exception&) {
  return false;
}

bool HostEngine::Trim(SeqId seq, Pos len) noexcept try {
  if (!Holds(seq) || len < 0 || len > Length(seq)) return false;
  if (len == Length(seq)) return true;
  if (len > 0 && (info_.caps & kTrim) == 0) return false;
  std::string why;
  const Status status =
      Ask(&why, [&](std::string* said) { return calls_->trim(model_.get(), seq, len, said); });
  cells_.Trim(seq, len);
  Length(seq) = len;
  if (status == Status::kOk) return true;
  broken_ = true;
  Fail(std::move(why));
  return false;
} catch (const std::exception&) {
  return false;
}

void HostEngine::Drop(SeqId seq) noexcept { Trim(seq, 0); }

std::vector<std::uint8_t> HostEngine::Save(SeqId seq) const {
  if (!Holds(seq)) throw Error(ErrorCode::kUsage, "no sequence " + std::to_string(seq));
  if ((info_.caps & kSaveKv) == 0) throw Error(ErrorCode::kUnsupported, "this model saves no KV");
  std::vector<std::uint8_t> body;
  std::string why;
  const Pos len = length_[static_cast<std::size_t>(seq)];
  if (len > 0 && Ask(&why, [&](std::string* said) {
                   return calls_->save(model_.get(), seq, &body, said);
                 }) != Status::kOk) {
    throw Error(ErrorCode::kEngine, why);
  }
  std::vector<std::uint8_t> state = NewState(body.size());
  std::copy(body.begin(), body.end(), Body(&state).begin());
  Seal(&state, fingerprint_, len);
  return state;
}

void HostEngine::LoadBody(SeqId seq, std::span<const std::uint8_t> body, Pos length) {
  if (!Holds(seq) || Length(seq) != 0) {
    throw Error(ErrorCode::kUsage,
                "KV is loaded into an empty sequence, got sequence " + std::to_string(seq));
  }
  if (!cells_.can_append(length)) {
    throw Error(ErrorCode::kContextFull,
                "no room to load the KV of " + std::to_string(length) + " tokens");
  }
  std::string why;
  if (length > 0 && Ask(&why, [&](std::string* said) {
                      return calls_->load(model_.get(), seq, length, body.data(), body.size(),
                                          said);
                    }) != Status::kOk) {
    throw Error(ErrorCode::kEngine, why);
  }
  cells_.Append(seq, length);
  Length(seq) = length;
}

void HostEngine::Load(SeqId seq, std::span<const std::uint8_t> state) {
  if ((info_.caps & kSaveKv) == 0) throw Error(ErrorCode::kUnsupported, "this model loads no KV");
  const OpenState open = Unseal(state, fingerprint_);
  LoadBody(seq, open.body, open.length);
}

void HostEngine::LoadPrefix(SeqId seq, const PrefixKv& prefix) {
  if ((info_.caps & kPrefixKv) == 0) return Engine::LoadPrefix(seq, prefix);
  const std::int64_t num =
      std::int64_t{2} * prefix.num_layers * prefix.num_kv_heads * prefix.head_dim;
  if (info_.cell_bytes != 4 * num && info_.cell_bytes != 2 * num) {
    throw Error(ErrorCode::kBundle, "a position of the prefix has " + std::to_string(num) +
                                        " numbers, a token of the model " +
                                        std::to_string(info_.cell_bytes) + " bytes");
  }
  const bool half = info_.cell_bytes == 2 * num;
  const std::size_t size = half ? 2 : 4;
  const std::size_t part = prefix.keys.size() / static_cast<std::size_t>(prefix.num_layers);
  std::vector<std::uint8_t> body(2 * prefix.keys.size() * size);
  std::uint8_t* to = body.data();
  for (std::size_t begin = 0; begin < prefix.keys.size(); begin += part) {
    for (const std::span<const float> numbers : {prefix.keys, prefix.values}) {
      const float* const from = numbers.data() + begin;
      if (half) {
        ggml_fp32_to_fp16_row(from, reinterpret_cast<ggml_fp16_t*>(to),
                              static_cast<std::int64_t>(part));
      } else {
        std::memcpy(to, from, part * size);
      }
      to += part * size;
    }
  }
  LoadBody(seq, body, prefix.num_positions);
}

void HostEngine::SetThreads(std::int32_t num_threads) noexcept try {
  if (info_.max_threads <= 1) return;
  const std::int32_t num = std::clamp(num_threads, 1, info_.max_threads);
  std::string why;
  if (Ask(&why, [&](std::string* said) { return calls_->set_threads(model_.get(), num, said); }) !=
      Status::kOk) {
    Fail(std::move(why));
  }
} catch (const std::exception&) {
  broken_ = true;
}

}  // namespace edgereason
