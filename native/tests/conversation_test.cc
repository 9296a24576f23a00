#include "conversation.h"

#include <string>
#include <vector>

#include "check.h"
#include "edgereason/scripted.h"

namespace edgereason {
namespace {

// As a template of the ChatML kind has it.
Conversation ChatMl() {
  Conversation made;
  made.Between(Speaker::kBegin, Speaker::kSystem) = "<s>";
  made.Between(Speaker::kSystem, Speaker::kUser) = "<e><u>";
  made.Between(Speaker::kBegin, Speaker::kUser) = "<u>";
  made.Between(Speaker::kUser, Speaker::kAssistant) = "<e><a>";
  made.Between(Speaker::kAssistant, Speaker::kUser) = "<e><u>";
  made.Between(Speaker::kUser, Speaker::kEnd) = "<e><a>";
  made.Guard({"<e>", "<u>", "<a>", "<e><u>x"});
  return made;
}

// Segments as text: control ones in brackets.
std::string Shown(const std::vector<PromptSegment>& segments) {
  std::string shown;
  for (const auto& [text, control] : segments)
    shown += control ? "[" + text + "]" : "{" + text + "}";
  return shown;
}

std::string Asked(const Conversation& conversation, std::string_view question) {
  const Said said{Speaker::kUser, question};
  return Shown(conversation.Fill({&said, 1}));
}

TEST(TextsStandBetweenThePieces) {
  const std::vector<Said> talk = {{Speaker::kSystem, "S"},
                                  {Speaker::kUser, "1"},
                                  {Speaker::kAssistant, "2"},
                                  {Speaker::kUser, "3"}};
  CHECK_EQ(Shown(ChatMl().Fill(talk)), "[<s>S<e><u>1<e><a>2<e><u>3<e><a>]");
}

TEST(WhatLooksLikeAControlTokenIsCutAfterItsFirstCharacter) {
  CHECK_EQ(Asked(ChatMl(), "a<e>b"), "[<u>a]{<}{e>}[b<e><a>]");
  CHECK_EQ(Asked(ChatMl(), "<e>"), "[<u>]{<}{e>}[<e><a>]");
  CHECK_EQ(Asked(ChatMl(), "<<e>"), "[<u><]{<}{e>}[<e><a>]");
  CHECK_EQ(Asked(ChatMl(), "<e"), "[<u><e<e><a>]");  // none yet: the template's own text follows
}

TEST(TheLongestIsTakenAndCutWhereShorterOnesBegin) {
  CHECK_EQ(Asked(ChatMl(), "<e><u>x"), "[<u>]{<}{e><}{u>x}[<e><a>]");
}

TEST(TextsAreCutBehindCharactersThatATemplateMayTakeOut) {
  Conversation made = ChatMl();
  made.cut_after = {"<"};
  CHECK_EQ(Asked(made, "a<b<e>"), "[<u>a<][b]{<}{e>}[<e><a>]");
}

TEST(BlanksGoWhereTheTemplateTrims) {
  Conversation made = ChatMl();
  CHECK_EQ(Asked(made, " \n1 "), "[<u> \n1 <e><a>]");
  made.trims[static_cast<std::size_t>(Speaker::kUser)] = {Loss::kBlanks, Loss::kBlanks};
  CHECK_EQ(Asked(made, " \n\u20031\u3000\x1c\u0085"), "[<u>1<e><a>]");
  made.trims[static_cast<std::size_t>(Speaker::kUser)] = {Loss::kNewlines, Loss::kNothing};
  CHECK_EQ(Asked(made, "\n\n 1\n"), "[<u> 1\n<e><a>]");
}

TEST(FurtherSegmentsFollow) {
  Conversation made = ChatMl();
  made.tail = {"<latent>"};
  CHECK_EQ(Asked(made, "1"), "[<u>1<e><a>][<latent>]");
}

TEST(OrdersThatThereAreNotAreRefused) {
  const Conversation made = ChatMl();
  for (const std::vector<Said>& talk : std::vector<std::vector<Said>>{
           {},
           {{Speaker::kSystem, "S"}},
           {{Speaker::kUser, "1"}, {Speaker::kUser, "2"}},
           {{Speaker::kUser, "1"}, {Speaker::kSystem, "S"}, {Speaker::kUser, "2"}},
           {{Speaker::kUser, "1"}, {Speaker::kAssistant, "2"}}}) {
    CHECK_THROWS(made.Fill(talk), Error);
  }
}

TEST(TextsThatAPlanCannotWriteAreRefused) {
  Conversation made = ChatMl();
  made.acted_on = {"/no_think"};
  made.unsaid = {"</think>"};
  CHECK_THROWS(Asked(made, "1 /no_think"), Error);
  CHECK_THROWS(Asked(made, ""), Error);
  CHECK_THROWS(Asked(made, "\xff"), Error);
  CHECK_EQ(Asked(made, "</think>"), "[<u></think><e><a>]");
  const std::vector<Said> talk = {
      {Speaker::kUser, "1"}, {Speaker::kAssistant, "hm</think>2"}, {Speaker::kUser, "3"}};
  CHECK_THROWS(made.Fill(talk), Error);
}

TEST(TokensAreThoseOfTheSegments) {
  const ScriptedEngine engine({.control = {"<u>"}, .end = "<e>"});
  const std::vector<PromptSegment> segments = {{"<u>a", true}, {"<", false}, {"e>", false}};
  const std::vector<Token> tokens = PromptTokens(segments, engine);
  CHECK_EQ(NumControl(tokens, engine.vocab()), 1);
  CHECK_EQ(tokens.size(), 5);
  const std::vector<PromptSegment> longer = {{std::string(1 << 20, 'a'), true}};
  CHECK_THROWS(PromptTokens(longer, engine), Error);
}

// Puts a blank before each text, as vocabularies of SentencePiece do.
class BlankBefore : public ScriptedEngine {
 public:
  using ScriptedEngine::ScriptedEngine;
  std::vector<Token> Tokenize(std::string_view text, bool parse_control) const override {
    std::string put(" ");
    put += text;
    return ScriptedEngine::Tokenize(put, parse_control);
  }
};

TEST(ABlankOfTheVocabularyStandsAtTheStartAlone) {
  const BlankBefore engine({.control = {"<u>"}, .end = "<e>"});
  const std::vector<PromptSegment> segments = {{"<u>a", true}, {"<", false}, {"e>", false}};
  CHECK_EQ(PromptTokens(segments, engine).size(), 6);  // once it was 8
  CHECK(TokenizeOn(engine, "</think>", true) ==
        static_cast<const ScriptedEngine&>(engine).ScriptedEngine::Tokenize("</think>", true));
}

TEST(TrimmedLeavesNothingOfBlanksAlone) {
  CHECK_EQ(Trimmed(" \t\n"), "");
  CHECK_EQ(Trimmed(""), "");
  CHECK_EQ(Trimmed(" a b "), "a b");
}

}  // namespace
}  // namespace edgereason
