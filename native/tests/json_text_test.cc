#include "policy/json_text.h"

#include <string>
#include <utility>
#include <vector>

#include "check.h"

namespace edgereason {
namespace {

std::string EndingOf(std::string_view text) {
  JsonText json;
  json.Feed(text);
  return json.Ending();
}

}  // namespace

TEST(EachPlaceHasItsEnding) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "null"},
      {"{", "}"},
      {"{ ", "}"},
      {"[", "]"},
      {"{\"a", "\":null}"},
      {"{\"a\"", ":null}"},
      {"{\"a\":", "null}"},
      {"{\"a\": 1", "}"},
      {"{\"a\": -", "0}"},
      {"{\"a\": 1.", "0}"},
      {"{\"a\": 1.5", "}"},
      {"{\"a\": 1e", "0}"},
      {"{\"a\": 1e+", "0}"},
      {"{\"a\": 1e+9", "}"},
      {"{\"a\": 1, ", "\"\":null}"},
      {"{\"a\": tr", "ue}"},
      {"{\"a\": nul", "l}"},
      {"{\"a\": false", "}"},
      {"{\"a\": \"x", "\"}"},
      {"{\"a\": \"x\\", "\\\"}"},
      {"{\"a\": \"x\\u00", "00\"}"},
      {"{\"a\": [1, {\"b\": [", "]}]}"},
      {"[1,", "null]"},
      {"[[], \"]", "\"]"},
      {"[\"\\\"", "\"]"},
      {"{\"a\": 1}", ""},
      {"17", ""},
      {"[1] ", ""},
  };
  for (const auto& [text, ending] : cases) CHECK_EQ(EndingOf(text), ending);
}

TEST(ACharacterThatWasBegunIsCompleted) {
  CHECK_EQ(EndingOf("\"\xC3"), "\x80\"");
  CHECK_EQ(EndingOf("\"\xE2\x82"), "\x80\"");
  CHECK_EQ(EndingOf("\"\xE0"), "\xA0\x80\"");  // lower ones would be longer forms of others
  CHECK_EQ(EndingOf("\"\xF0"), "\x90\x80\x80\"");
  CHECK_EQ(EndingOf("\"\xF0\x9F"), "\x80\x80\"");
  CHECK_EQ(EndingOf("\"\xE2\x82\xAC"), "\"");
}

TEST(WhatCameInPiecesIsTheSame) {
  const std::string text = "{\"k\\\"\\u00e9\": [true, -1.5e-3, null, {\"\xE2\x82\xAC\": \"";
  JsonText json;
  for (const char byte : text) json.Feed(std::string_view(&byte, 1));
  CHECK_EQ(json.Ending(), EndingOf(text));
  CHECK(json.in_string());
  CHECK(json.begun());
  CHECK(!JsonText().begun());
}

}  // namespace edgereason
