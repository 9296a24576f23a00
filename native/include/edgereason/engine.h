// What the scheduler asks of a model: turn rows into logits, and keep the KV of sequences.
//
//   engine->Decode({{.seq = 0, .pos = 0, .token = 1},
//                   {.seq = 0, .pos = 1, .token = 42, .output = true}});
//   std::span<const float> logits = engine->Logits(1);   // [num_vocab], of the row with output
//   engine->Fork(0, 1, 2);                               // sequence 1 starts with those two tokens
//   engine->Trim(1, 1);                                  // and is cut back to the first of them
//
// When each is called: Decode once a step, Logits and Hidden right after it; Fork when a sequence
// is admitted (shared prefix) and when a probe looks ahead; Trim when a sequence starts again from
// a common prefix; Drop when it ends; Save and Load never by the scheduler itself; LoadPrefix when
// a prefix is first asked for; AddAdapters, Use and SetThreads between two steps. All calls come
// from one thread, except Tokenize, which may be called from any.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "edgereason/error.h"

namespace edgereason {

using Token = std::int32_t;
using SeqId = std::int32_t;  // in [0, max_seqs)
using Pos = std::int32_t;

inline constexpr Token kNoToken = -1;

// What decides the KV besides the items of a context: a hash of the LoRA adapters and steering
// vectors that are in force. KV is shared between equal keys only. 0: the model as it was opened.
using ContextKey = std::uint64_t;

// A LoRA adapter that is added to the weights, its effect times `scale`.
struct LoraFile {
  std::string path;
  float scale = 1;
};

// What changes the model for the requests of one key.
struct Adapters {
  std::vector<LoraFile> loras{};  // beside those that it was opened with
  std::vector<float> steering{};  // [layers, num_embd], row i is added behind layer i; or empty
};

// One token, or one embedding, at one place of one sequence. Rows of a sequence come in order,
// without gaps.
struct Row {
  SeqId seq = 0;
  Pos pos = 0;
  Token token = kNoToken;
  const float* embedding = nullptr;  // [num_embd]; taken instead of `token`; needs kEmbedIn
  bool output = false;               // logits (and hidden state, with kHiddenOut) wanted
  bool logits = true;                // false: of an output the hidden state is enough
};

// KV from outside. Keys are rotated to positions 0 .. num_positions - 1, in halves (NEOX), whatever
// order the model has them in.
struct PrefixKv {
  std::int32_t num_layers = 0;
  std::int32_t num_kv_heads = 0;
  std::int32_t num_positions = 0;
  std::int32_t head_dim = 0;
  std::span<const float> keys;    // [num_layers, num_kv_heads, num_positions, head_dim]
  std::span<const float> values;  // the same
};

// What an engine can do. Bit i has the name kCapabilityNames[i], which Capability in records.py has
// in capitals.
enum Capability : std::uint32_t {
  kLogits = 1,
  kFork = 2,
  kTrim = 4,
  kSaveKv = 8,
  kEmbedIn = 16,
  kHiddenOut = 32,
  kPrefixKv = 64,
  kSteer = 128,
  kLora = 256,
  kTokenRows = 512,
};

inline constexpr std::array<std::string_view, 10> kCapabilityNames = {
    "logits",     "fork",      "trim",  "save_kv", "embed_in",
    "hidden_out", "prefix_kv", "steer", "lora",    "token_rows"};

enum class Status : std::uint8_t {
  kOk,
  kNoCells,  // no room for these rows; nothing was changed
  kFailed,   // the engine is broken; last_error() says why
};

struct EngineInfo {
  std::uint32_t caps = kLogits;
  std::int32_t num_vocab = 0;
  std::int32_t num_embd = 0;
  std::int32_t num_cells = 0;  // KV cells shared by all sequences; also the longest sequence
  std::int32_t max_rows = 0;   // rows of one Decode at most
  std::int32_t max_seqs = 0;
  std::int32_t max_threads = 1;  // 1: SetThreads has no effect
  std::int64_t cell_bytes = 0;   // memory of one cell, all layers; 0 where unknown
};

// The text of every token, fixed once the engine is open.
struct Vocab {
  std::vector<std::string> pieces;    // bytes as they appear in output; may split a character
  std::vector<std::uint8_t> ends;     // 1: ends generation (EOS, EOT, ...)
  std::vector<std::uint8_t> control;  // 1: its piece is its name, e.g. "<|im_end|>"
  std::vector<Token> named;           // control tokens, and others that no text is merged into
  Token bos = kNoToken;               // kNoToken: none
  bool add_bos = false;               // the model expects bos before every prompt

  std::string_view Piece(Token token) const noexcept {
    return pieces[static_cast<std::size_t>(token)];
  }
  // Bytes of the longest piece: a text has at least this part of its bytes as tokens.
  std::size_t LongestPiece() const noexcept {
    std::size_t longest = 1;
    for (const std::string& piece : pieces) longest = std::max(longest, piece.size());
    return longest;
  }
  // Bytes of the longest named token that `text` ends with; 0: it ends in ordinary tokens.
  std::size_t NamedEnd(std::string_view text) const noexcept {
    std::size_t longest = 0;
    for (const Token token : named) {
      const std::string_view piece = Piece(token);
      if (piece.size() > longest && text.ends_with(piece)) longest = piece.size();
    }
    return longest;
  }
  bool Ends(Token token) const noexcept { return ends[static_cast<std::size_t>(token)] != 0; }
};

class Engine {
 public:
  virtual ~Engine() = default;

  virtual const EngineInfo& info() const noexcept = 0;
  virtual const Vocab& vocab() const noexcept = 0;
  virtual std::string last_error() const = 0;

  // Text to tokens. With `parse_control` the names of control tokens become those tokens; without,
  // they are text. Never adds bos. Throws kUsage on text that is not UTF-8.
  virtual std::vector<Token> Tokenize(std::string_view text, bool parse_control) const = 0;

  // Computes all rows and appends them to their sequences. All or nothing. At most max_seqs rows
  // may ask for output.
  virtual Status Decode(std::span<const Row> rows) noexcept = 0;

  // Results of row `row` of the last Decode, valid until the next one. Empty when the row asked for
  // no output; logits also may be where it asked for none.
  virtual std::span<const float> Logits(std::int32_t row) const noexcept = 0;  // [num_vocab]
  // [num_embd], after the final norm
  virtual std::span<const float> Hidden(std::int32_t row) const noexcept = 0;

  // Writes the embedding that `token` is fed as into `row`, [num_embd]. False: it cannot be read;
  // always so without kTokenRows.
  virtual bool Embed(Token /*token*/, std::span<float> /*row*/) noexcept { return false; }

  // Makes `to`, which must be empty, start with the first `len` tokens of `from`. Copies no KV
  // where cells are shared. False: not possible here (a recurrent model forks at the end of a
  // sequence only), `to` stays empty.
  virtual bool Fork(SeqId from, SeqId to, Pos len) noexcept = 0;
  // Cuts `seq` back to its first `len` tokens. False: this engine cannot cut here, `seq` is
  // unchanged.
  virtual bool Trim(SeqId seq, Pos len) noexcept = 0;
  virtual void Drop(SeqId seq) noexcept = 0;

  // The KV of `seq` as bytes, and back into the empty sequence `seq`. Throws kUnsupported without
  // kSaveKv.
  virtual std::vector<std::uint8_t> Save(SeqId seq) const = 0;
  virtual void Load(SeqId seq, std::span<const std::uint8_t> state) = 0;

  // Fills the empty sequence `seq` with the rows of `prefix`. Throws kUnsupported without
  // kPrefixKv, kBundle where it has another shape than the model, kContextFull without cells.
  virtual void LoadPrefix(SeqId /*seq*/, const PrefixKv& /*prefix*/) {
    throw Error(ErrorCode::kUnsupported, "this engine takes no prefixes");
  }

  // Makes `key`, which is not 0, stand for `adapters`. Throws kUnsupported without kSteer or kLora,
  // kBundle where they do not fit the model.
  virtual void AddAdapters(ContextKey /*key*/, const Adapters& /*adapters*/) {
    throw Error(ErrorCode::kUnsupported, "this engine takes no adapters for single requests");
  }
  // The rows of the steps that follow are computed under `key`. False: it stands for nothing here.
  virtual bool Use(ContextKey key) noexcept { return key == 0; }

  virtual void SetThreads(std::int32_t num_threads) noexcept = 0;  // in [1, max_threads]
};

}  // namespace edgereason
