#include "context/context.h"

#include <algorithm>
#include <bit>

namespace edgereason {
namespace {

// FNV-1a over the bits of the numbers.
std::uint64_t HashOf(std::span<const float> row) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const float x : row) {
    hash = (hash ^ std::bit_cast<std::uint32_t>(x)) * 0x100000001b3ULL;
  }
  return hash ^ hash >> 32;
}

}  // namespace

std::int32_t CommonPrefix(std::span<const ContextItem> a, std::span<const ContextItem> b) noexcept {
  const auto end = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first;
  return static_cast<std::int32_t>(end - a.begin());
}

Context::Context(ContextKey key, PrefixRef prefix, std::int32_t capacity)
    : key_(key), prefix_(prefix) {
  items_.reserve(static_cast<std::size_t>(capacity) + 1);
}

std::int32_t Context::Restart(std::span<const Token> prompt, std::int32_t num_kept) {
  num_prefix_ = prefix_.num_positions;
  const std::int32_t size = num_prefix_ + static_cast<std::int32_t>(prompt.size());
  const auto item_at = [&](std::int32_t at) {
    return at < num_prefix_
               ? ContextItem::OfPrefix(prefix_.id, at)
               : ContextItem::OfToken(prompt[static_cast<std::size_t>(at - num_prefix_)]);
  };
  num_kept = std::min(num_kept, size);
  std::int32_t common = 0;
  while (common < num_kept && items_[static_cast<std::size_t>(common)] == item_at(common)) ++common;
  items_.resize(static_cast<std::size_t>(common));
  for (std::int32_t at = common; at < size; ++at) items_.push_back(item_at(at));
  latents_.clear();  // a prompt has none
  return common;
}

void Context::Append(std::span<const Token> tokens) {
  for (const Token token : tokens) Append(token);
}

void Context::ReserveLatents(std::int32_t num, std::size_t num_embd) {
  num_embd_ = num_embd;
  latents_.reserve(latents_.size() + static_cast<std::size_t>(num) * num_embd);
}

void Context::AppendLatent(std::span<const float> hidden) {
  num_embd_ = hidden.size();
  items_.push_back(ContextItem::Latent());
  latents_.insert(latents_.end(), hidden.begin(), hidden.end());
}

void Context::AppendBlend(std::span<const float> row) {
  num_embd_ = row.size();
  items_.push_back(ContextItem::OfBlend(HashOf(row)));
  latents_.insert(latents_.end(), row.begin(), row.end());
}

void Context::Truncate(std::int32_t size) { items_.resize(static_cast<std::size_t>(size)); }

const float* Context::Embedding(std::int32_t at) const noexcept {
  const auto begin = items_.begin() + at;
  if (!begin->is_fed_as_embedding()) return nullptr;
  // Counted from the end, which is near: rows are decoded there.
  const auto from_end = static_cast<std::size_t>(std::count_if(
      begin, items_.end(), [](ContextItem item) { return item.is_fed_as_embedding(); }));
  return latents_.data() + (latents_.size() - from_end * num_embd_);
}

}  // namespace edgereason
