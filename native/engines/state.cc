#include "state.h"

#include <array>
#include <cstring>

#include "edgereason/error.h"

namespace edgereason {
namespace {

struct Header {
  std::array<char, 4> magic = {'E', 'R', 'K', 'V'};
  std::uint32_t version = 2;
  std::uint64_t fingerprint = 0;
  std::uint64_t checksum = 0;
  std::int64_t length = 0;
};

}  // namespace

Hash& Hash::Add(std::span<const std::uint8_t> bytes) noexcept {
  while (bytes.size() >= sizeof value_) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data(), sizeof word);
    Mix(word);
    bytes = bytes.subspan(sizeof word);
  }
  for (const std::uint8_t byte : bytes) Mix(byte);
  return *this;
}

Hash& Hash::Add(std::uint64_t number) noexcept {
  std::array<std::uint8_t, sizeof number> bytes;
  std::memcpy(bytes.data(), &number, sizeof number);
  return Add(bytes);
}

std::vector<std::uint8_t> NewState(std::size_t num_bytes) {
  return std::vector<std::uint8_t>(sizeof(Header) + num_bytes);
}

std::span<std::uint8_t> Body(std::vector<std::uint8_t>* state) noexcept {
  return std::span(*state).subspan(sizeof(Header));
}

void Seal(std::vector<std::uint8_t>* state, std::uint64_t fingerprint,
          std::int32_t length) noexcept {
  const Header header{
      .fingerprint = fingerprint, .checksum = Hash().Add(Body(state)).value(), .length = length};
  std::memcpy(state->data(), &header, sizeof header);
}

OpenState Unseal(std::span<const std::uint8_t> state, std::uint64_t fingerprint) {
  Header header;
  const bool has_header = state.size() >= sizeof header;
  if (has_header) std::memcpy(&header, state.data(), sizeof header);
  if (!has_header || header.magic != Header().magic || header.version != Header().version) {
    throw Error(ErrorCode::kBundle, "this is not KV that edgereason saved");
  }
  if (header.fingerprint != fingerprint) {
    throw Error(ErrorCode::kBundle, "saved KV belongs to another model or KV type");
  }
  const auto body = state.subspan(sizeof header);
  if (header.checksum != Hash().Add(body).value()) {
    throw Error(ErrorCode::kBundle, "saved KV is damaged or cut short");
  }
  return {.length = static_cast<std::int32_t>(header.length), .body = body};
}

}  // namespace edgereason
