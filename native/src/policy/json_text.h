// Follows JSON while it is written, as far as one must know how to close it.
//
//   JsonText json;
//   json.Feed(R"({"name": "Ann)");
//   json.Ending()   // "\"}": what makes it JSON
//
// Expects the beginning of JSON: a grammar sees to that.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace edgereason {

class JsonText {
 public:
  void Feed(std::string_view bytes);

  // The shortest text that makes it JSON, or nearly: a value that has not begun becomes null.
  std::string Ending() const;

  bool begun() const noexcept { return begun_; }
  bool in_string() const noexcept {
    return place_ == Place::kString || place_ == Place::kEscape || place_ == Place::kHex;
  }

 private:
  enum class Place : std::uint8_t {
    kValue,      // a value must come
    kFirstItem,  // a value, or the end of its array
    kFirstKey,   // a key, or the end of its object
    kKey,
    kColon,
    kAfter,  // behind a value
    kString,
    kEscape,  // behind a backslash
    kHex,     // in the four digits behind \u
    kNumber,
    kWord,  // in true, false or null
  };

  void Take(char byte);
  void TakeValue(char byte);
  void TakeInString(unsigned char byte) noexcept;
  void EndString() noexcept { place_ = is_key_ ? Place::kColon : Place::kAfter; }
  void Open(char bracket);
  void Shut() noexcept;
  std::string EndOfPlace() const;

  Place place_ = Place::kValue;
  bool begun_ = false;
  bool is_key_ = false;         // of the string
  bool needs_digit_ = false;    // of the number
  std::uint8_t num_left_ = 0;   // bytes of the character, or digits behind \u
  unsigned char least_ = 0x80;  // the least that the character's next byte may be
  std::string_view word_;       // what is left of it
  std::string open_;            // the brackets that are open, outermost first
};

}  // namespace edgereason
