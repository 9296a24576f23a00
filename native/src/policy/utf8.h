// Whether bytes are text.
#pragma once

#include <string_view>

namespace edgereason {

// True for well-formed UTF-8: shortest forms only, no surrogates, nothing beyond U+10FFFF.
bool IsUtf8(std::string_view text) noexcept;

}  // namespace edgereason
