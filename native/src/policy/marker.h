// Which text a token belongs to: thinking or answer. Follows reasoning blocks through one phase.
//
//   MarkerTracker tracker({"<think>"}, {"</think>"}, /*stop=*/{}, /*inside=*/true);
//   tracker.Feed("ok</think>", &answer, &reasoning);  // -> kShut, "ok" went to reasoning
//
// A block may be open already (the template opened it), be opened again, be shut twice (the second
// mark is dropped), and its marks may be spread over tokens.
//
// A mark may also be talked about. Then it is text:
//   - where the model has a token for it and spells it in others, such as those of a question;
//   - one that opens, where it does not begin a line, or stands in fenced code. Marks of several
//     tokens that end in one of the model's own (channels) count wherever they stand;
//   - one that shuts, outside a block: only the first after a block, or one that begins a line, is
//     the end mark once more, and none in code or behind a quotation mark.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "edgereason/phase.h"
#include "policy/stop.h"

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
  // `ends`: of each mark, those that open and then those that shut, the bytes of the model's own
  // token that it ends with; 0, or left out: it has none. Throws kUsage when a text is empty.
  MarkerTracker(std::vector<std::string> open, std::vector<std::string> shut,
                std::vector<std::string> stop, bool inside, std::vector<std::size_t> ends = {},
                std::vector<std::string> call = {});

  // Takes one token's bytes and appends what can be shown to reasoning or answer text. The last
  // event of the piece is returned; a piece that both opens and shuts gives kShut. kStop wins over
  // everything after it. Bytes after a shut mark go to the answer, also where the shut mark ends
  // the phase: they belong to the phase that follows. A shut mark outside a block, or an open one
  // inside, is dropped where it counts, and gives kNone. Stop texts count outside blocks only. A text
  // of `call` shuts a block, and is the beginning of the answer behind it; outside it is text like any
  // other.
  Event Feed(std::string_view piece, std::string* answer, std::string* reasoning);

  // The block is closed from outside (budget, deadline): bytes held back go to the reasoning text.
  // Outside a block nothing happens.
  void ForceShut(std::string* reasoning);

  // The phase is over: bytes held back as the possible start of a mark are text after all.
  void Flush(std::string* answer, std::string* reasoning);

  bool inside() const noexcept { return inside_; }
  bool called() const noexcept { return mark_ >= num_shut_ && !call_.empty(); }  // by `call`
  // Of the last kShut or kStop: which of the texts in `shut` and then `call`, or in `stop`, it was;
  // -1 before any.
  std::int32_t mark() const noexcept { return mark_; }
  // Bytes that are fed but not shown, because they may be the start of a mark.
  std::int32_t num_held() const noexcept { return static_cast<std::int32_t>(held_.size()); }

 private:
  void Take(std::string_view bytes, std::int32_t num_keep, std::string* text);
  void Enter(bool inside) noexcept;
  bool Counts(const TextMatcher::Match& match, std::string_view token,
              std::string_view before) const noexcept;

  // Two matchers, so that a stop text cannot hide a mark it overlaps while it does not count. The
  // mark that changes something comes first: it wins where one text is both.
  TextMatcher outside_;  // open, then stop, then shut
  TextMatcher within_;   // shut, then call, then open
  std::int32_t num_open_ = 0;
  std::int32_t num_shut_ = 0;
  std::int32_t num_stop_ = 0;
  std::vector<std::string> call_;
  std::vector<std::size_t> ends_;   // of open, then of shut
  std::vector<std::size_t> sizes_;  // the same
  std::string held_;                // shorter than the longest mark
  std::int32_t mark_ = -1;
  bool inside_ = false;
  bool may_repeat_ = true;  // outside: no mark was met since the block ended
};

}  // namespace edgereason
