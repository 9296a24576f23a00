#include "policy/stop.h"

#include <string>
#include <string_view>
#include <vector>

#include "check.h"
#include "edgereason/error.h"

namespace edgereason {
namespace {

using Match = TextMatcher::Match;

void CheckMatch(const Match& got, std::int32_t pattern, std::int32_t num_after) {
  CHECK_EQ(got.pattern, pattern);
  CHECK_EQ(got.num_after, num_after);
}

TEST(HoldsTheStartOfAPattern) {
  TextMatcher matcher({"</think>", "Final answer:"});
  CheckMatch(matcher.Feed("so </thi"), -1, 0);
  CHECK_EQ(matcher.num_held(), 5);
  const Match match = matcher.Feed("nk>\n\n42");
  CheckMatch(match, 0, 4);
  CHECK_EQ(match.num_pattern, 8);
  CHECK_EQ(matcher.num_held(), 0);
}

TEST(FindsAPatternByteByByte) {
  TextMatcher matcher({"aab"});
  std::vector<std::int32_t> held;
  for (const char byte : std::string_view("xaaa")) {
    CheckMatch(matcher.Feed({&byte, 1}), -1, 0);
    held.push_back(matcher.num_held());
  }
  CHECK_EQ(held, (std::vector<std::int32_t>{0, 1, 2, 2}));
  CheckMatch(matcher.Feed("b"), 0, 0);
}

TEST(TheEarliestEndWins) {
  TextMatcher matcher({"abcd", "bc"});
  CheckMatch(matcher.Feed("abcd"), 1, 1);
}

TEST(OfThoseThatEndTogetherTheLongestWins) {
  TextMatcher matcher({"c", "abc", "bc"});
  const Match match = matcher.Feed("abc!");
  CheckMatch(match, 1, 1);
  CHECK_EQ(match.num_pattern, 3);
}

TEST(AMatchStartsAnew) {
  TextMatcher matcher({"aa"});
  CheckMatch(matcher.Feed("aaa"), 0, 1);
  CHECK_EQ(matcher.num_held(), 0);  // the last byte was not consumed
  CheckMatch(matcher.Feed("a"), -1, 0);
  CHECK_EQ(matcher.num_held(), 1);
  matcher.Reset();
  CheckMatch(matcher.Feed("a"), -1, 0);
}

TEST(WithoutPatternsNothingIsHeld) {
  TextMatcher matcher;
  CheckMatch(matcher.Feed("anything"), -1, 0);
  CHECK_EQ(matcher.num_held(), 0);
}

TEST(AnEmptyPatternIsRefused) { CHECK_THROWS(TextMatcher({"a", ""}), Error); }

TEST(UnfinishedCharactersAreCounted) {
  const std::string smile = "\xF0\x9F\x99\x82";
  CHECK_EQ(NumUnfinishedUtf8(""), 0);
  CHECK_EQ(NumUnfinishedUtf8("abc"), 0);
  CHECK_EQ(NumUnfinishedUtf8(smile), 0);
  for (std::size_t num = 1; num < smile.size(); ++num) {
    CHECK_EQ(NumUnfinishedUtf8("a" + smile.substr(0, num)), num);
  }
  CHECK_EQ(NumUnfinishedUtf8("\xC3"), 1);
  CHECK_EQ(NumUnfinishedUtf8("\xC3\xA9"), 0);
}

TEST(BytesThatNoCharacterStartsWithAreNotUnfinished) {
  for (const char* text : {"\x80", "\xFF", "\xC0", "\xF5", "\xE0\x80", "\xED\xA0", "\xF0\x80",
                           "\xF4\x90", "\xC3\xA9\x80", "\x80\x80\x80\x80"}) {
    CHECK_EQ(NumUnfinishedUtf8(text), 0);
  }
}

}  // namespace
}  // namespace edgereason
