#include "policy/stop.h"

#include <algorithm>
#include <utility>

#include "edgereason/error.h"

namespace edgereason {
namespace {

// failure[i]: length of the longest proper prefix of `pattern` that ends its first i + 1 bytes.
std::vector<std::int32_t> FailureTable(const std::string& pattern) {
  std::vector<std::int32_t> failure(pattern.size(), 0);
  std::int32_t matched = 0;
  for (std::size_t i = 1; i < pattern.size(); ++i) {
    while (matched > 0 && pattern[i] != pattern[static_cast<std::size_t>(matched)]) {
      matched = failure[static_cast<std::size_t>(matched) - 1];
    }
    if (pattern[i] == pattern[static_cast<std::size_t>(matched)]) ++matched;
    failure[i] = matched;
  }
  return failure;
}

}  // namespace

TextMatcher::TextMatcher(std::vector<std::string> patterns)
    : patterns_(std::move(patterns)), state_(patterns_.size(), 0) {
  failure_.reserve(patterns_.size());
  for (const std::string& pattern : patterns_) {
    if (pattern.empty()) {
      throw Error(ErrorCode::kUsage, "a stop text or marker must not be empty",
                  "leave it out of the list");
    }
    failure_.push_back(FailureTable(pattern));
    firsts_.set(static_cast<unsigned char>(pattern.front()));
  }
}

TextMatcher::Match TextMatcher::Feed(std::string_view piece) noexcept {
  const auto may_begin = [this](char byte) { return firsts_[static_cast<unsigned char>(byte)]; };
  if (held_ == 0 && std::ranges::none_of(piece, may_begin)) return {};
  for (std::size_t at = 0; at < piece.size(); ++at) {
    Match found;
    for (std::size_t p = 0; p < patterns_.size(); ++p) {
      const std::string& pattern = patterns_[p];
      std::int32_t matched = state_[p];
      while (matched > 0 && piece[at] != pattern[static_cast<std::size_t>(matched)]) {
        matched = failure_[p][static_cast<std::size_t>(matched) - 1];
      }
      if (piece[at] == pattern[static_cast<std::size_t>(matched)]) ++matched;
      state_[p] = matched;
      if (matched == static_cast<std::int32_t>(pattern.size()) && matched > found.num_pattern) {
        found.pattern = static_cast<std::int32_t>(p);
        found.num_pattern = matched;
      }
    }
    if (found.pattern >= 0) {
      found.num_after = static_cast<std::int32_t>(piece.size() - at - 1);
      Reset();
      return found;
    }
  }
  held_ = state_.empty() ? 0 : *std::max_element(state_.begin(), state_.end());
  return {};
}

void TextMatcher::Reset() noexcept {
  std::fill(state_.begin(), state_.end(), 0);
  held_ = 0;
}

std::int32_t NumUnfinishedUtf8(std::string_view text) noexcept {
  const std::size_t most = std::min<std::size_t>(3, text.size());
  for (std::size_t num = 1; num <= most; ++num) {
    const auto lead = static_cast<unsigned char>(text[text.size() - num]);
    if ((lead & 0xC0) == 0x80) continue;  // a continuation byte: its lead is further left
    const std::size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                               : lead >= 0xE0 && lead <= 0xEF ? 3
                               : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                              : 1;
    if (num >= length) return 0;
    if (num >= 2) {
      // Some leads allow only part of the second bytes: overlong forms, surrogates, past U+10FFFF.
      const auto second = static_cast<unsigned char>(text[text.size() - num + 1]);
      const bool low = second < (lead == 0xF0 ? 0x90 : 0xA0);
      if ((lead == 0xE0 || lead == 0xF0) && low) return 0;
      if (lead == 0xED && second >= 0xA0) return 0;
      if (lead == 0xF4 && second >= 0x90) return 0;
    }
    return static_cast<std::int32_t>(num);
  }
  return 0;
}

}  // namespace edgereason
