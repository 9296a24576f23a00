#include "policy/json_text.h"

namespace edgereason {
namespace {

constexpr std::uint8_t kHexDigits = 4;

bool IsBlank(char byte) noexcept {
  return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

bool IsDigit(char byte) noexcept { return byte >= '0' && byte <= '9'; }

}  // namespace

void JsonText::Feed(std::string_view bytes) {
  for (const char byte : bytes) Take(byte);
}

void JsonText::Open(char bracket) {
  open_.push_back(bracket);
  place_ = bracket == '{' ? Place::kFirstKey : Place::kFirstItem;
}

void JsonText::Shut() noexcept {
  if (!open_.empty()) open_.pop_back();
  place_ = Place::kAfter;
}

void JsonText::Take(char byte) {
  switch (place_) {
    case Place::kString:
    case Place::kEscape:
    case Place::kHex:
      return TakeInString(static_cast<unsigned char>(byte));
    case Place::kWord:
      word_.remove_prefix(1);
      if (word_.empty()) place_ = Place::kAfter;
      return;
    case Place::kNumber:
      if (IsDigit(byte)) {
        needs_digit_ = false;
      } else if (byte == '.' || byte == 'e' || byte == 'E' || byte == '+' || byte == '-') {
        needs_digit_ = true;
      } else {
        place_ = Place::kAfter;
        Take(byte);
      }
      return;
    default:
      break;
  }
  if (IsBlank(byte)) return;
  begun_ = true;
  if (byte == '}' || byte == ']') return Shut();
  switch (place_) {
    case Place::kColon:
      place_ = Place::kValue;
      return;
    case Place::kAfter:
      place_ = !open_.empty() && open_.back() == '{' ? Place::kKey : Place::kValue;
      return;
    default:
      return TakeValue(byte);
  }
}

// The first byte of a value or of a key.
void JsonText::TakeValue(char byte) {
  switch (byte) {
    case '{':
    case '[':
      return Open(byte);
    case '"':
      is_key_ = place_ == Place::kKey || place_ == Place::kFirstKey;
      place_ = Place::kString;
      return;
    case 't':
      word_ = "rue";
      break;
    case 'f':
      word_ = "alse";
      break;
    case 'n':
      word_ = "ull";
      break;
    default:
      needs_digit_ = byte == '-';
      place_ = Place::kNumber;
      return;
  }
  place_ = Place::kWord;
}

void JsonText::TakeInString(unsigned char byte) noexcept {
  if (place_ == Place::kHex) {
    if (--num_left_ == 0) place_ = Place::kString;
  } else if (place_ == Place::kEscape) {
    place_ = byte == 'u' ? Place::kHex : Place::kString;
    num_left_ = byte == 'u' ? kHexDigits : 0;
  } else if (num_left_ > 0) {
    --num_left_;
    least_ = 0x80;
  } else if (byte == '"') {
    EndString();
  } else if (byte == '\\') {
    place_ = Place::kEscape;
  } else if (byte >= 0xC2) {
    num_left_ = byte >= 0xF0 ? 3 : byte >= 0xE0 ? 2 : 1;
    // Lower second bytes would be longer forms of what a shorter character says.
    least_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
  }
}

// What ends the string, number or word, or stands for the value that must come.
std::string JsonText::EndOfPlace() const {
  std::string end;
  switch (place_) {
    case Place::kValue:
      return "null";
    case Place::kKey:
      return "\"\":null";
    case Place::kColon:
      return ":null";
    case Place::kNumber:
      return needs_digit_ ? "0" : "";
    case Place::kWord:
      return std::string(word_);
    case Place::kEscape:
      end = "\\";
      break;
    case Place::kHex:
      end.assign(num_left_, '0');
      break;
    case Place::kString:
      end.assign(num_left_, static_cast<char>(0x80));
      if (num_left_ > 0) end.front() = static_cast<char>(least_);
      break;
    default:
      return end;
  }
  return end + (is_key_ ? "\":null" : "\"");
}

std::string JsonText::Ending() const {
  std::string end = EndOfPlace();
  for (auto bracket = open_.rbegin(); bracket != open_.rend(); ++bracket) {
    end.push_back(*bracket == '{' ? '}' : ']');
  }
  return end;
}

}  // namespace edgereason
