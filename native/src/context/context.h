// What a sequence has read and said so far, place by place, and what decides its KV besides.
//
//   Context context(/*key=*/0, /*prefix=*/{}, /*capacity=*/4096);
//   context.Append(prompt);                  // tokens
//   context.AppendLatent(hidden);            // a latent step: fed with this embedding
//   context.Embedding(context.size() - 1);   // that embedding again; null where a token lies
//
// Two contexts share KV where their keys are equal and their items are, from the first one on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "edgereason/context_item.h"
#include "edgereason/sequence_options.h"

namespace edgereason {

// How many of the first items of `a` and `b` are equal.
std::int32_t CommonPrefix(std::span<const ContextItem> a, std::span<const ContextItem> b) noexcept;

// A prefix that every prompt of a context stands behind; none: 0 positions.
struct PrefixRef {
  PrefixId id = kNoPrefix;
  std::int32_t num_positions = 0;
};

class Context {
 public:
  // Room for `capacity` items is taken at once, so that no step allocates.
  Context(ContextKey key, PrefixRef prefix, std::int32_t capacity);

  ContextKey key() const noexcept { return key_; }
  std::span<const ContextItem> items() const noexcept { return items_; }
  std::span<const ContextItem> first(std::int32_t num) const noexcept {
    return items().first(static_cast<std::size_t>(num));
  }
  std::int32_t size() const noexcept { return static_cast<std::int32_t>(items_.size()); }

  // Positions of a prefix that it begins with. They are never decoded: they come by a fork.
  std::int32_t num_prefix() const noexcept { return num_prefix_; }

  // Begins anew: the prefix, then `prompt`. Returns how many of the first `num_kept` items stay
  // as they are.
  std::int32_t Restart(std::span<const Token> prompt, std::int32_t num_kept);
  void Append(Token token) { items_.push_back(ContextItem::OfToken(token)); }
  void Append(std::span<const Token> tokens);
  void AppendLatent(std::span<const float> hidden);  // [num_embd]
  void AppendBlend(std::span<const float> row);      // the same, of tokens' embeddings
  void ReserveLatents(std::int32_t num, std::size_t num_embd);
  void Truncate(std::int32_t size);  // takes back tokens only, nothing that is fed as an embedding

  // What is fed at place `at`, where a latent step or a blend lies; null where a token does.
  // [num_embd], valid until the next of them.
  const float* Embedding(std::int32_t at) const noexcept;

 private:
  ContextKey key_;
  PrefixRef prefix_;
  std::int32_t num_prefix_ = 0;  // of items_; 0 before the first Restart
  std::vector<ContextItem> items_;
  std::vector<float> latents_;  // [latent steps and blends in items_, num_embd]
  std::size_t num_embd_ = 0;    // known from the first of them on
};

}  // namespace edgereason
