#include "policy/utf8.h"

#include <cstddef>
#include <cstdint>

namespace edgereason {
namespace {

bool IsIn(unsigned char byte, int low, int high) { return byte >= low && byte <= high; }

// Length of the character that starts at `at`, 0 if none does.
std::size_t CharLength(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned char {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0;
  };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  // The second byte's range rules out overlong forms, surrogates and what lies beyond U+10FFFF.
  const int low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const int high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  const std::size_t length = IsIn(lead, 0xC2, 0xDF)   ? 2
                             : IsIn(lead, 0xE0, 0xEF) ? 3
                             : IsIn(lead, 0xF0, 0xF4) ? 4
                                                      : 0;
  if (length == 0 || !IsIn(byte(1), low, high)) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (!IsIn(byte(i), 0x80, 0xBF)) return 0;
  }
  return length;
}

}  // namespace

bool IsUtf8(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = CharLength(text, at);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

}  // namespace edgereason
