#include "context/vocabulary.h"

#include <algorithm>
#include <string_view>

#include "edgereason/error.h"

namespace edgereason {
namespace {

// A piece in a message: bytes that cannot be shown as \xNN.
std::string Shown(std::string_view piece) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string shown = "'";
  for (const char letter : piece) {
    const auto byte = static_cast<unsigned char>(letter);
    if (byte >= 0x20 && byte < 0x7f) {
      shown += letter;
    } else {
      shown += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return shown + "'";
}

}  // namespace

std::size_t NumShared(const Vocab& model, const Vocab& second, const std::string& other,
                      const std::string& hint) {
  const auto differ = std::ranges::mismatch(model.pieces, second.pieces);
  const auto num = static_cast<std::size_t>(differ.in1 - model.pieces.begin());
  if (num < std::min(model.pieces.size(), second.pieces.size())) {
    throw Error(ErrorCode::kBundle,
                "token " + std::to_string(num) + " is " + Shown(*differ.in1) +
                    " in the model and " + Shown(*differ.in2) + " in the " + other,
                hint);
  }
  return num;
}

}  // namespace edgereason
