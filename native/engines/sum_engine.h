// Two models that write as one: each computes every row, and the logits are those of `base` plus
// `strength` times those of `guide` (UniR, arXiv 2505.19075: a small reasoner that was trained beside
// a model which stays as it is). Greedy, and for the same temperature, that is the product of both
// distributions.
//
//   SumEngine engine(base, guide, /*strength=*/1);
//
// Strength 0 is `base` alone, token for token. Both have the same vocabulary; one may be longer by
// tokens that no text has, as the padding of some models' output is. KV is that of both, so
// forks and cuts are done in both or in none. No hidden states, embeddings, prefixes or adapters.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "edgereason/engine.h"

namespace edgereason {

class SumEngine : public Engine {
 public:
  // Throws kBundle where the vocabularies differ, kUsage where `strength` is no number, kUnsupported
  // where an engine cannot take rows back or gives no logits.
  SumEngine(std::shared_ptr<Engine> base, std::shared_ptr<Engine> guide, float strength);

  const EngineInfo& info() const noexcept override { return info_; }
  const Vocab& vocab() const noexcept override { return vocab_; }
  std::string last_error() const override;

  std::vector<Token> Tokenize(std::string_view text, bool parse_control) const override {
    return base_->Tokenize(text, parse_control);
  }
  Status Decode(std::span<const Row> rows) noexcept override;
  std::span<const float> Logits(std::int32_t row) const noexcept override;
  std::span<const float> Hidden(std::int32_t /*row*/) const noexcept override { return {}; }
  bool Fork(SeqId from, SeqId to, Pos len) noexcept override;
  bool Trim(SeqId seq, Pos len) noexcept override;
  void Drop(SeqId seq) noexcept override;
  std::vector<std::uint8_t> Save(SeqId seq) const override;
  void Load(SeqId seq, std::span<const std::uint8_t> state) override;
  void SetThreads(std::int32_t num_threads) noexcept override;

 private:
  void TakeBack(std::span<const Row> rows) noexcept;
  void Add(std::span<const Row> rows) noexcept;

  std::shared_ptr<Engine> base_;
  std::shared_ptr<Engine> guide_;
  float strength_;
  EngineInfo info_;
  Vocab vocab_;  // what both have
  bool guide_failed_ = false;
  std::vector<std::int32_t> output_of_;  // [max_rows], which sum belongs to a row; -1: none
  std::vector<float> sums_;              // [max_seqs, num_vocab]
};

}  // namespace edgereason
