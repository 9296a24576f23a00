#include "context/guide.h"

#include <memory>
#include <string>
#include <vector>

#include "check.h"
#include "edgereason/scripted.h"
#include "policy/closing.h"
#include "policy/token_table.h"
#include "texts_grammar.h"

namespace edgereason {
namespace {

using test::TextsGrammar;

constexpr std::int32_t kPlenty = 1000;

struct Fixture {
  ScriptedEngine engine{{.words = {"\"}", "{\"", "name", "\": \"", "null"}}};
  const Vocab& vocab() const { return engine.vocab(); }

  std::shared_ptr<Grammar> Of(std::vector<std::string> texts, bool is_json = true) const {
    return std::make_shared<TextsGrammar>(vocab(), std::move(texts), is_json);
  }
  std::string Text(std::span<const Token> tokens) const {
    std::string text;
    for (const Token token : tokens) text += vocab().Piece(token);
    return text;
  }
  Token Id(const std::string& piece) const { return engine.Tokenize(piece, false).front(); }
};

bool Allowed(std::span<const std::uint32_t> mask, Token token) {
  const auto i = static_cast<std::size_t>(token);
  return (mask[i / 32] >> (i % 32) & 1) != 0;
}

}  // namespace

TEST(BytesBecomeTheLongestTokens) {
  const Fixture fixture;
  const TokenTable table(fixture.vocab());
  CHECK_EQ(table.Tokens("{\"name\"}")->size(), 3);
  CHECK_EQ(fixture.Text(*table.Tokens("{\"name\": \"x\"}")), "{\"name\": \"x\"}");
  CHECK_EQ(table.Tokens("<|im_end|>")->size(), 10);  // never the end token
  CHECK(table.Tokens("")->empty());
  CHECK_EQ(fixture.vocab().Piece(table.OfByte('x')), "x");
}

TEST(WhatHasNoTokenHasNone) {
  const Vocab vocab{.pieces = {"a", "<end>"}, .ends = {0, 1}, .control = {0, 1}};
  const TokenTable table(vocab);
  CHECK(!table.Tokens("ab"));
  CHECK_EQ(table.OfByte('b'), kNoToken);
}

TEST(AnEndingIsFoundStepByStep) {
  const Fixture fixture;
  const auto grammar = fixture.Of({"{\"a\": 10}", "{\"a\": 7}", "{\"a\": \"long\"}"});
  CHECK_EQ(*FindEnding(*grammar, {}),
           "{\"a\": 10}");  // the first digit that there is, then what must be
  const auto text = fixture.Of({"{\"a\": \"x\"}", "{\"a\": \"yy\"}"});
  JsonText json;
  for (const char byte : std::string("{\"a\": \"y")) {
    CHECK(text->Accept(fixture.Id(std::string(1, byte))));
    json.Feed(std::string_view(&byte, 1));
  }
  CHECK_EQ(*FindEnding(*text, json), "y\"}");
}

TEST(AGuideAllowsWhatItsGrammarDoes) {
  const Fixture fixture;
  Guide guide(fixture.Of({"ab", "ac"}, false), kPlenty);
  CHECK(guide.Prepare());
  CHECK(Allowed(guide.mask(), fixture.Id("a")));
  CHECK(!Allowed(guide.mask(), fixture.Id("b")));
  CHECK(guide.Accept(fixture.Id("a"), kPlenty));
  CHECK(guide.Forced().empty());
  CHECK(!guide.MustEnd());
  CHECK(!guide.Accept(fixture.Id("x"), kPlenty));  // what is not allowed is not taken
}

TEST(ATokenBehindWhichNoEndingFitsIsNotTaken) {
  const Fixture fixture;
  // Byte by byte: "[1]" is three tokens, "[1234567]" nine.
  for (const std::int32_t budget : {3, 5, 9}) {
    Guide guide(fixture.Of({"[1]", "[1234567]"}), budget);
    CHECK(guide.ends_valid());
    std::string text;
    std::int32_t left = budget;
    for (const char byte : std::string("[1234567]")) {
      const Token token = fixture.Id(std::string(1, byte));
      if (!guide.Accept(token, left)) break;
      text.push_back(byte);
      --left;
    }
    CHECK(std::ssize(guide.Ending()) <= left);
    CHECK_EQ(text + fixture.Text(guide.Ending()), budget < 9 ? "[1]" : "[1234567]");
  }
}

TEST(ABudgetThatHoldsNoValidTextGivesJson) {
  const Fixture fixture;
  const std::string whole = "{\"name\": \"abcdefgh\"}";
  for (std::int32_t budget = 1; budget < 12; ++budget) {
    Guide guide(fixture.Of({whole}), budget);
    CHECK(!guide.ends_valid());
    std::string text;
    std::int32_t left = budget;
    for (const Token token : fixture.engine.Tokenize(whole, false)) {
      if (left == 0 || !guide.Accept(token, left)) break;
      text += fixture.vocab().Piece(token);
      --left;
    }
    CHECK(std::ssize(guide.Ending()) <= left);
    text += fixture.Text(guide.Ending());
    const auto num_chars = static_cast<std::size_t>(std::max(budget - 4, 0));
    const std::string cut = "{\"name\": \"" + whole.substr(10, num_chars) + "\"}";
    // Behind `{"` come four tokens: `"`, `:`, null and `}`.
    CHECK_EQ(text, budget == 1 ? "0" : budget < 5 ? "{}" : budget == 5 ? "{\"\":null}" : cut);
  }
}

TEST(AWholeTextHasNoEnding) {
  const Fixture fixture;
  Guide guide(fixture.Of({"1", "12"}), kPlenty);
  CHECK_EQ(fixture.Text(guide.Ending()), "1");
  CHECK(guide.Accept(fixture.Id("1"), kPlenty));
  CHECK(guide.Ending().empty());
  CHECK(!guide.MustEnd());
  CHECK(guide.Accept(fixture.Id("2"), kPlenty));
  CHECK(guide.MustEnd());
}

TEST(AGrammarThatGivesUpAllowsNothing) {
  const Fixture fixture;
  auto grammar =
      std::make_shared<TextsGrammar>(fixture.vocab(), std::vector<std::string>{"[1]"}, true);
  grammar->breaks = true;
  Guide guide(grammar, kPlenty);
  CHECK(!guide.Prepare());
  CHECK_EQ(fixture.Text(guide.Ending()), "[1]");  // all of it is forced: no mask is needed
}

}  // namespace edgereason
