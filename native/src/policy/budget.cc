#include "policy/budget.h"

#include <algorithm>
#include <array>

namespace edgereason {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::array kEnds = {"."sv, "!"sv, "?"sv, "\n"sv, "。"sv, "！"sv, "？"sv, "…"sv};
constexpr std::array kClosers = {" "sv, "\t"sv, "\r"sv, "\""sv, "'"sv, ")"sv, "]"sv,
                                 "}"sv, "*"sv,  "_"sv,  "`"sv,  "$"sv, "”"sv, "’"sv,
                                 "»"sv, "）"sv, "」"sv, "』"sv, "】"sv};

// The length of the one of `texts` that `text` ends with; 0: none.
template <typename Texts>
std::size_t NumEnding(std::string_view text, const Texts& texts) noexcept {
  for (const std::string_view end : texts) {
    if (text.ends_with(end)) return end.size();
  }
  return 0;
}

}  // namespace

float SoftShare(float soft, std::int32_t used, std::int32_t limit, bool at_sentence_end) noexcept {
  if (limit == kUnlimited || soft >= 1.0F) return 0.0F;
  if (used >= limit) return 1.0F;
  const float spent = static_cast<float>(used) / static_cast<float>(limit);
  const float share = std::max(0.0F, (spent - soft) / (1.0F - soft));
  return at_sentence_end ? share : share * share;
}

bool EndsSentence(std::string_view text) noexcept {
  while (const std::size_t num = NumEnding(text, kClosers)) text.remove_suffix(num);
  return NumEnding(text, kEnds) > 0;
}

}  // namespace edgereason
