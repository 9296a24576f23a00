// Which text a token belongs to: thinking or answer. Follows reasoning blocks through one phase.
//
//   MarkerTracker tracker({"<think>"}, {"</think>"}, /*inside=*/true);
//   tracker.Feed("ok</think>", ...)  ->  kShut, "ok" went to reasoning
//
// A block may be open already (the template opened it), be opened again, be shut twice (the second mark is dropped),
// and its marks may be spread over tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "edgereason/phase.h"
#include "edgereason/stop.h"

namespace edgereason {

class MarkerTracker {
 public:
  enum class Event : std::uint8_t {
    kNone,
    kOpened,  // a block was opened: from here on, thinking
    kShut,    // the block was shut by the model
    kStop,    // one of the stop texts ended the phase; the rest of the piece is dropped
  };

  MarkerTracker() = default;
  MarkerTracker(std::vector<std::string> open, std::vector<std::string> shut, std::vector<std::string> stop,
                bool inside);

  // Takes one token's bytes and appends what can be shown to reasoning or answer text. The last event of the piece is
  // returned; a piece that both opens and shuts gives kShut. kStop wins over everything after it. Bytes after a shut
  // mark go to the answer, also where the shut mark ends the phase: they belong to the phase that follows. A shut mark
  // outside a block, or an open one inside, is dropped and gives kNone.
  Event Feed(std::string_view piece, std::string* answer, std::string* reasoning) noexcept;

  // The block is closed from outside (budget, deadline): bytes held back go to the reasoning text.
  void ForceShut(std::string* reasoning) noexcept;

  // The phase is over: bytes held back as the possible start of a mark are text after all.
  void Flush(std::string* answer, std::string* reasoning) noexcept;

  bool inside() const noexcept { return inside_; }

 private:
  void Show(std::string_view bytes, std::string* answer, std::string* reasoning) noexcept;

  TextMatcher matcher_;  // open, then shut, then stop
  std::int32_t num_open_ = 0;
  std::int32_t num_shut_ = 0;
  std::string held_;  // at most as long as the longest mark
  bool inside_ = false;
};

}  // namespace edgereason
