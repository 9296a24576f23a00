#include "edgereason/scripted.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <utility>

#include "context/rows.h"
#include "policy/utf8.h"

namespace edgereason {
namespace {

constexpr float kScripted = 10;  // logit of the token the script asks for; all others lie in [0, 1)
constexpr float kUnscripted = 8;  // logits without a script lie in [0, 8)
constexpr std::size_t kBytes = 256;

// splitmix64: every bit of the result depends on every bit of the state.
std::uint64_t Mix(std::uint64_t state, std::uint64_t value) noexcept {
  std::uint64_t z = (state ^ value) + 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

float Uniform(std::uint64_t hash) noexcept {
  constexpr float kScale = 1.0F / (1 << 24);
  return static_cast<float>(hash >> 40) * kScale;
}

std::uint64_t HashEmbedding(std::uint64_t state, const float* embedding, std::int32_t num) {
  for (std::int32_t i = 0; i < num; ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, embedding + i, sizeof bits);
    state = Mix(state, bits);
  }
  return Mix(state, static_cast<std::uint64_t>(kNoToken));
}

void Require(bool ok, const std::string& message) {
  if (!ok) throw Error(ErrorCode::kUsage, message);
}

// One token of a saved sequence.
struct SavedToken {
  std::int64_t token;
  std::uint64_t hash;
};

}  // namespace

ScriptedEngine::ScriptedEngine(ScriptedOptions options) : options_(std::move(options)) {
  Require(options_.num_cells >= 1, "a scripted engine needs at least one cell");
  Require(options_.max_rows >= 1, "a scripted engine needs at least one row");
  Require(options_.max_seqs >= 1, "a scripted engine needs at least one sequence");
  Require(options_.num_embd >= 1, "a scripted engine needs embeddings of at least one number");
  Require(!options_.end.empty(), "a scripted engine needs an end token");
  const auto add = [this](std::string piece, bool control, bool ends) {
    Require(!piece.empty(), "a piece of a scripted vocabulary cannot be empty");
    if (control) vocab_.named.push_back(static_cast<Token>(vocab_.pieces.size()));
    vocab_.pieces.push_back(std::move(piece));
    vocab_.control.push_back(control);
    vocab_.ends.push_back(ends);
  };
  for (std::size_t byte = 0; byte < kBytes; ++byte) {
    add(std::string(1, static_cast<char>(byte)), false, false);
  }
  for (const std::string& word : options_.words) add(word, false, false);
  for (const std::string& name : options_.control) add(name, true, false);
  add(options_.end, true, true);
  end_ = static_cast<Token>(vocab_.pieces.size() - 1);
  info_ = {.caps = options_.caps,
           .num_vocab = static_cast<std::int32_t>(vocab_.pieces.size()),
           .num_embd = options_.num_embd,
           .num_cells = options_.num_cells,
           .max_rows = options_.max_rows,
           .max_seqs = options_.max_seqs,
           .max_threads = options_.max_threads,
           .cell_bytes = sizeof(SavedToken)};
  const auto seqs = static_cast<std::size_t>(info_.max_seqs);
  const auto cells = static_cast<std::size_t>(info_.num_cells);
  cells_.resize(cells);
  free_.reserve(cells);
  for (std::int32_t cell = info_.num_cells - 1; cell >= 0; --cell) free_.push_back(cell);
  held_.resize(seqs);
  for (Cells& held : held_) held.reserve(cells);  // so that no step allocates
  text_.reserve(cells * 8);
  length_.resize(seqs);
  ahead_.resize(seqs);
  output_of_.assign(static_cast<std::size_t>(info_.max_rows), -1);
  logits_.resize(seqs * static_cast<std::size_t>(info_.num_vocab));
  hidden_.resize(seqs * static_cast<std::size_t>(info_.num_embd));
}

Token ScriptedEngine::Longest(std::string_view text, bool control) const noexcept {
  Token best = static_cast<Token>(static_cast<unsigned char>(text.front()));
  std::size_t length = 1;
  for (std::size_t i = kBytes; i < vocab_.pieces.size(); ++i) {
    const std::string& piece = vocab_.pieces[i];
    if (piece.size() <= length || (vocab_.control[i] != 0 && !control)) continue;
    if (!text.starts_with(piece)) continue;
    best = static_cast<Token>(i);
    length = piece.size();
  }
  return best;
}

std::vector<Token> ScriptedEngine::Tokenize(std::string_view text, bool parse_control) const {
  Require(IsUtf8(text), "text is not UTF-8");
  std::vector<Token> tokens;
  while (!text.empty()) {
    tokens.push_back(Longest(text, parse_control));
    text.remove_prefix(vocab_.Piece(tokens.back()).size());
  }
  return tokens;
}

Status ScriptedEngine::Fail(std::string why) {
  last_error_ = std::move(why);
  return Status::kFailed;
}

Status ScriptedEngine::Decode(std::span<const Row> rows) noexcept {
  std::fill(output_of_.begin(), output_of_.end(), -1);
  const bool fails = options_.fail_at_step >= 0 && num_steps_ >= options_.fail_at_step;
  if (fails) return Fail("the script fails at step " + std::to_string(options_.fail_at_step));
  for (SeqId seq = 0; seq < info_.max_seqs; ++seq) {
    length_[static_cast<std::size_t>(seq)] = static_cast<Pos>(Held(seq).size());
  }
  if (std::string why = CheckRows(rows, info_, length_, ahead_); !why.empty()) {
    return Fail(std::move(why));
  }
  if (rows.size() > free_.size()) return Status::kNoCells;
  ++num_steps_;
  num_outputs_ = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    const Cells& held = Held(row.seq);
    const std::uint64_t before = held.empty() ? 0 : At(held.back()).hash;
    if (row.embedding != nullptr) {
      Append(row.seq, kNoToken, HashEmbedding(before, row.embedding, info_.num_embd));
    } else {
      Append(row.seq, row.token, Mix(before, static_cast<std::uint64_t>(row.token)));
    }
    if (row.output) Answer(static_cast<std::int32_t>(i), row);
  }
  Take(rows);
  return Status::kOk;
}

void ScriptedEngine::Append(SeqId seq, Token token, std::uint64_t hash) noexcept {
  const std::int32_t cell = free_.back();
  free_.pop_back();
  At(cell) = {.token = token, .hash = hash, .num_holders = 1};
  Held(seq).push_back(cell);
}

void ScriptedEngine::Cut(SeqId seq, std::size_t len) noexcept {
  Cells& held = Held(seq);
  for (; held.size() > len; held.pop_back()) {
    if (--At(held.back()).num_holders == 0) free_.push_back(held.back());
  }
}

void ScriptedEngine::Answer(std::int32_t row, const Row& what) noexcept {
  const std::int32_t output = num_outputs_++;
  output_of_[static_cast<std::size_t>(row)] = output;
  const std::uint64_t hash = At(Held(what.seq).back()).hash;
  const Token next = Next(what.seq);
  const float scale = next == kNoToken ? kUnscripted : 1;
  float* logits = logits_.data() + static_cast<std::ptrdiff_t>(output) * info_.num_vocab;
  for (Token token = 0; token < info_.num_vocab; ++token) {
    logits[token] = scale * Uniform(Mix(hash, static_cast<std::uint64_t>(token)));
  }
  if (next != kNoToken) logits[next] = kScripted;
  float* hidden = hidden_.data() + static_cast<std::ptrdiff_t>(output) * info_.num_embd;
  for (std::int32_t i = 0; i < info_.num_embd; ++i) {
    hidden[i] = 2 * Uniform(Mix(~hash, static_cast<std::uint64_t>(i))) - 1;
  }
}

// What the script wants to follow, or kNoToken.
Token ScriptedEngine::Next(SeqId seq) noexcept {
  text_.clear();
  for (const std::int32_t cell : Held(seq)) {
    if (At(cell).token != kNoToken) text_ += vocab_.Piece(At(cell).token);
  }
  const std::string_view text = text_;
  const ScriptedRule* rule = nullptr;
  std::size_t from = 0;  // where the reply begins
  for (const ScriptedRule& each : options_.rules) {
    // An empty `after` is found at the end by rfind; what is meant is the beginning.
    const std::size_t at = each.after.empty() ? 0 : text.rfind(each.after);
    if (at == std::string_view::npos) continue;
    const std::size_t end = at + each.after.size();
    if (rule == nullptr || end > from || (end == from && each.after.size() > rule->after.size())) {
      rule = &each;
      from = end;
    }
  }
  if (rule == nullptr) return kNoToken;
  const std::string_view reply = rule->reply;
  const std::string_view said = text.substr(from);
  if (!reply.starts_with(said)) return kNoToken;
  if (said.size() == reply.size()) return end_;
  return Longest(reply.substr(said.size()), true);
}

void ScriptedEngine::Take(std::span<const Row> rows) noexcept {
  if (options_.clock) {
    double cells = 0;
    for (const Row& row : rows) cells += row.pos;
    const auto& pace = options_.pace;
    const auto turn = static_cast<std::size_t>(num_steps_ - 1);
    options_.clock->Advance((pace.empty() ? 1.0 : pace[turn % pace.size()]) *
                            (options_.step_ms + options_.cell_ms * cells +
                             options_.row_ms * static_cast<double>(rows.size())));
  }
  if (options_.sleep_ms > 0) {
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(options_.sleep_ms));
  }
}

std::span<const float> ScriptedEngine::Logits(std::int32_t row) const noexcept {
  const std::int32_t output =
      row >= 0 && row < info_.max_rows ? output_of_[static_cast<std::size_t>(row)] : -1;
  if (output < 0) return {};
  const auto num = static_cast<std::size_t>(info_.num_vocab);
  return std::span(logits_).subspan(static_cast<std::size_t>(output) * num, num);
}

std::span<const float> ScriptedEngine::Hidden(std::int32_t row) const noexcept {
  const std::int32_t output =
      row >= 0 && row < info_.max_rows ? output_of_[static_cast<std::size_t>(row)] : -1;
  if (output < 0 || !Can(kHiddenOut)) return {};
  const auto num = static_cast<std::size_t>(info_.num_embd);
  return std::span(hidden_).subspan(static_cast<std::size_t>(output) * num, num);
}

bool ScriptedEngine::Embed(Token token, std::span<float> row) noexcept {
  if (!Can(kTokenRows) || token < 0 || token >= info_.num_vocab) return false;
  const std::uint64_t hash = Mix(0, static_cast<std::uint64_t>(token));
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = 2 * Uniform(Mix(hash, i)) - 1;
  return true;
}

bool ScriptedEngine::Fork(SeqId from, SeqId to, Pos len) noexcept {
  if (!Can(kFork) || !Holds(from) || !Holds(to) || from == to || !Held(to).empty()) return false;
  const Cells& source = Held(from);
  if (len < 0 || static_cast<std::size_t>(len) > source.size()) return false;
  for (std::size_t i = 0; i < static_cast<std::size_t>(len); ++i) {
    ++At(source[i]).num_holders;
    Held(to).push_back(source[i]);
  }
  return true;
}

bool ScriptedEngine::Trim(SeqId seq, Pos len) noexcept {
  if (!Holds(seq) || len < 0 || static_cast<std::size_t>(len) > Held(seq).size()) return false;
  // Without kTrim as with a recurrent model: all or nothing.
  if (!Can(kTrim) && len != 0 && static_cast<std::size_t>(len) != Held(seq).size()) return false;
  Cut(seq, static_cast<std::size_t>(len));
  return true;
}

void ScriptedEngine::Drop(SeqId seq) noexcept {
  if (Holds(seq)) Cut(seq, 0);
}

std::vector<std::uint8_t> ScriptedEngine::Save(SeqId seq) const {
  if (!Can(kSaveKv)) throw Error(ErrorCode::kUnsupported, "this engine cannot save KV");
  Require(Holds(seq), "no sequence " + std::to_string(seq));
  std::vector<std::uint8_t> state(Held(seq).size() * sizeof(SavedToken));
  std::uint8_t* out = state.data();
  for (const std::int32_t cell : Held(seq)) {
    const SavedToken saved{.token = At(cell).token, .hash = At(cell).hash};
    std::memcpy(out, &saved, sizeof saved);
    out += sizeof saved;
  }
  return state;
}

void ScriptedEngine::Load(SeqId seq, std::span<const std::uint8_t> state) {
  if (!Can(kSaveKv)) throw Error(ErrorCode::kUnsupported, "this engine cannot load KV");
  Require(Holds(seq) && Held(seq).empty(),
          "KV is loaded into an empty sequence, got sequence " + std::to_string(seq));
  if (state.size() % sizeof(SavedToken) != 0) {
    throw Error(ErrorCode::kBundle, "saved KV is damaged");
  }
  const std::size_t num = state.size() / sizeof(SavedToken);
  if (num > free_.size()) {
    throw Error(ErrorCode::kContextFull,
                "no room to load the KV of " + std::to_string(num) + " tokens");
  }
  for (std::size_t i = 0; i < num; ++i) {
    SavedToken saved;
    std::memcpy(&saved, state.data() + i * sizeof saved, sizeof saved);
    if (saved.token < kNoToken || saved.token >= info_.num_vocab) {
      Drop(seq);
      throw Error(ErrorCode::kBundle, "saved KV is damaged");
    }
    Append(seq, static_cast<Token>(saved.token), saved.hash);
  }
}

std::string ScriptedEngine::Text(SeqId seq) const {
  std::string text;
  for (const std::int32_t cell : Held(seq)) {
    if (At(cell).token != kNoToken) text += vocab_.Piece(At(cell).token);
  }
  return text;
}

}  // namespace edgereason
