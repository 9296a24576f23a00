// What lies at one place of a context: tells whether KV can be shared.
#pragma once

#include <cstdint>

#include "edgereason/engine.h"

namespace edgereason {

// What lies at one place of a context, as far as its KV goes. Eight bytes: equal bits, equal KV.
class ContextItem {
 public:
  enum class Kind : std::uint8_t {
    kToken,
    kLatent,  // a latent step: which one follows from the items before it
    kPrefix,  // a position of a trained prefix: KV that was loaded, not read
    kImage,   // a row of an image's embedding, by its hash; for engines that will take images
    kBlend,   // a blend of tokens' embeddings, by its hash
  };

  constexpr ContextItem() = default;
  static constexpr ContextItem OfToken(Token token) noexcept {
    return {Kind::kToken, static_cast<std::uint32_t>(token)};
  }
  static constexpr ContextItem Latent() noexcept { return {Kind::kLatent, 0}; }
  static constexpr ContextItem OfPrefix(std::int32_t prefix, std::int32_t position) noexcept {
    const auto id = static_cast<std::uint64_t>(static_cast<std::uint32_t>(prefix));
    return {Kind::kPrefix, id << 24 ^ static_cast<std::uint32_t>(position)};
  }
  static constexpr ContextItem OfImage(std::uint64_t hash) noexcept { return {Kind::kImage, hash}; }
  static constexpr ContextItem OfBlend(std::uint64_t hash) noexcept { return {Kind::kBlend, hash}; }

  constexpr Kind kind() const noexcept { return static_cast<Kind>(bits_ >> kValueBits); }
  constexpr Token token() const noexcept {  // kNoToken: it is none
    return kind() == Kind::kToken ? static_cast<Token>(bits_ & 0xffffffff) : kNoToken;
  }
  // It is fed as an embedding, which the context keeps.
  constexpr bool is_fed_as_embedding() const noexcept {
    return kind() == Kind::kLatent || kind() == Kind::kBlend;
  }
  friend constexpr bool operator==(ContextItem, ContextItem) = default;

 private:
  static constexpr int kValueBits = 56;
  constexpr ContextItem(Kind kind, std::uint64_t value) noexcept
      : bits_(static_cast<std::uint64_t>(kind) << kValueBits |
              (value & ((std::uint64_t{1} << kValueBits) - 1))) {}

  std::uint64_t bits_ = 0;
};

}  // namespace edgereason
