// Finds byte strings in text that arrives token by token.
//
//   TextMatcher matcher({"</think>", "Final answer:"});
//   matcher.Feed("so </thi");   // -> no match, 5 bytes held back: they may be the start of one
//   matcher.Feed("nk>\n\n42");  // -> pattern 0, 4 bytes after it
//
// Works on bytes, so a marker may be spread over any number of tokens and a token may go on after
// it.
#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace edgereason {

class TextMatcher {
 public:
  struct Match {
    // Index of the pattern that ended first; of several, the longest; -1: none.
    std::int32_t pattern = -1;
    std::int32_t num_after = 0;    // bytes of this piece after the match
    std::int32_t num_pattern = 0;  // length of the pattern found, bytes
  };

  TextMatcher() = default;
  explicit TextMatcher(std::vector<std::string> patterns);  // an empty pattern throws kUsage

  // Takes the next piece up to the first match; bytes after a match are not consumed, the state
  // starts anew.
  Match Feed(std::string_view piece) noexcept;

  // How many of the last bytes fed may be the start of a pattern: they must not be shown yet.
  std::int32_t num_held() const noexcept { return held_; }
  void Reset() noexcept;

 private:
  std::bitset<256> firsts_;  // bytes that a pattern begins with
  std::vector<std::string> patterns_;
  std::vector<std::vector<std::int32_t>> failure_;  // KMP tables, one per pattern
  std::vector<std::int32_t> state_;                 // matched length, one per pattern
  std::int32_t held_ = 0;
};

// How many bytes at the end of `text` are an unfinished UTF-8 character, 0 to 3.
std::int32_t NumUnfinishedUtf8(std::string_view text) noexcept;

}  // namespace edgereason
