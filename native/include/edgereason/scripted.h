// An engine without a model: it replays what a script says, and checks all that it is handed. For
// tests and docs.
//
//   ScriptedEngine engine({.rules = {{.after = "2+2=", .reply = "4"}}});
//   engine.Decode(rows of "2+2=");   // the last row's logits have their top at "4"
//   engine.Decode(row of "4");       // now at the end-of-generation token
//
// The next token depends on nothing but the tokens of the sequence. Of all rules, the one whose
// `after` occurs latest in their text is in force: as long as the text behind it is the beginning
// of `reply`, the longest piece that goes on with it comes next; after all of it the end token.
// Where the text went another way, or no rule applies, the logits are a hash of all tokens so far:
// whoever mixes up KV cells gets other tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "edgereason/clock.h"
#include "edgereason/engine.h"

namespace edgereason {

struct ScriptedRule {
  std::string after;  // "": the very beginning
  std::string reply;
};

struct ScriptedOptions {
  std::vector<ScriptedRule> rules = {};
  std::vector<std::string> words = {};  // pieces of several bytes; every single byte is one anyway
  std::vector<std::string> control = {"<|im_start|>"};
  std::string end = "<|im_end|>";  // a control token as well; ends generation
  std::uint32_t caps = kLogits | kFork | kTrim | kSaveKv | kEmbedIn | kHiddenOut | kTokenRows;
  std::int32_t num_cells = 4096;
  std::int32_t max_rows = 512;
  std::int32_t max_seqs = 16;
  std::int32_t max_threads = 1;
  std::int32_t num_embd = 8;

  // What a step takes: step_ms + cell_ms * (KV cells read by all rows) + row_ms * rows. `clock` is
  // advanced by it.
  std::shared_ptr<ManualClock> clock = {};
  double step_ms = 0;
  double cell_ms = 0;
  double row_ms = 0;
  std::vector<double> pace = {};   // times what each step takes, in turn, over and over; none: 1
  double sleep_ms = 0;             // real time that each step takes
  std::int64_t fail_at_step = -1;  // this Decode and all later ones fail; -1: never
};

class ScriptedEngine : public Engine {
 public:
  explicit ScriptedEngine(ScriptedOptions options);  // throws kUsage

  const EngineInfo& info() const noexcept override { return info_; }
  const Vocab& vocab() const noexcept override { return vocab_; }
  std::string last_error() const override { return last_error_; }

  std::vector<Token> Tokenize(std::string_view text, bool parse_control) const override;
  Status Decode(std::span<const Row> rows) noexcept override;
  std::span<const float> Logits(std::int32_t row) const noexcept override;
  std::span<const float> Hidden(std::int32_t row) const noexcept override;
  bool Embed(Token token, std::span<float> row) noexcept override;
  bool Fork(SeqId from, SeqId to, Pos len) noexcept override;
  bool Trim(SeqId seq, Pos len) noexcept override;
  void Drop(SeqId seq) noexcept override;
  std::vector<std::uint8_t> Save(SeqId seq) const override;
  void Load(SeqId seq, std::span<const std::uint8_t> state) override;
  bool Use(ContextKey /*key*/) noexcept override { return true; }  // it says the same under all
  void SetThreads(std::int32_t num_threads) noexcept override { num_threads_ = num_threads; }

  // What a test may ask.
  std::int64_t num_steps() const noexcept { return num_steps_; }
  std::int32_t num_used_cells() const noexcept {
    return info_.num_cells - static_cast<std::int32_t>(free_.size());
  }
  std::int32_t num_threads() const noexcept { return num_threads_; }
  std::string Text(SeqId seq) const;  // what the sequence holds

 private:
  struct Cell {
    Token token = kNoToken;  // kNoToken: an embedding
    std::uint64_t hash = 0;  // of all tokens up to this one
    std::int32_t num_holders = 0;
  };
  using Cells = std::vector<std::int32_t>;

  Cells& Held(SeqId seq) { return held_[static_cast<std::size_t>(seq)]; }
  const Cells& Held(SeqId seq) const { return held_[static_cast<std::size_t>(seq)]; }
  Cell& At(std::int32_t cell) { return cells_[static_cast<std::size_t>(cell)]; }
  const Cell& At(std::int32_t cell) const { return cells_[static_cast<std::size_t>(cell)]; }
  bool Holds(SeqId seq) const noexcept { return seq >= 0 && seq < info_.max_seqs; }
  bool Can(Capability cap) const noexcept { return (info_.caps & cap) != 0; }

  void Append(SeqId seq, Token token, std::uint64_t hash) noexcept;
  void Cut(SeqId seq, std::size_t len) noexcept;
  void Answer(std::int32_t row, const Row& what) noexcept;
  Token Next(SeqId seq) noexcept;
  Token Longest(std::string_view text, bool control) const noexcept;
  void Take(std::span<const Row> rows) noexcept;
  Status Fail(std::string why);

  ScriptedOptions options_;
  EngineInfo info_;
  Vocab vocab_;
  Token end_ = kNoToken;
  std::vector<Cell> cells_;  // [num_cells]
  std::vector<std::int32_t> free_;
  std::vector<Cells> held_;          // [max_seqs], in order of position
  std::vector<Pos> length_;          // [max_seqs], tokens of each when a step begins
  std::vector<std::int32_t> ahead_;  // [max_seqs], rows of this step
  std::vector<std::int32_t>
      output_of_;              // [max_rows], which of the outputs belongs to a row; -1: none
  std::vector<float> logits_;  // [max_seqs, num_vocab]
  std::vector<float> hidden_;  // [max_seqs, num_embd]
  std::int32_t num_outputs_ = 0;
  std::string text_;  // scratch: the text of one sequence
  std::string last_error_;
  std::int64_t num_steps_ = 0;
  std::int32_t num_threads_ = 1;
};

}  // namespace edgereason
