#include "policy/utf8.h"

#include <string>
#include <string_view>

#include "check.h"

namespace edgereason {
namespace {

using namespace std::string_view_literals;

TEST(TextIsText) {
  CHECK(IsUtf8(""));
  CHECK(IsUtf8("plain\0zero"sv));
  CHECK(IsUtf8("\u00e9 \u4e2d \U0001f916"));
  CHECK(IsUtf8("\xF4\x8F\xBF\xBF"));  // U+10FFFF
}

TEST(BrokenTextIsNot) {
  for (const std::string_view text :
       {"\x80"sv, "\xC3"sv, "a\xC3("sv, "\xE4\xB8"sv, "\xF0\x9F\xA4"sv, "\xFF"sv, "\xC3\0"sv}) {
    CHECK(!IsUtf8(text));
  }
}

TEST(OverlongSurrogateAndBeyondAreNot) {
  for (const std::string_view text :
       {"\xC0\xAF"sv, "\xE0\x80\xAF"sv, "\xF0\x80\x80\xAF"sv, "\xED\xA0\x80"sv,
        "\xF4\x90\x80\x80"sv, "\xF5\x80\x80\x80"sv}) {
    CHECK(!IsUtf8(text));
  }
}

}  // namespace
}  // namespace edgereason
