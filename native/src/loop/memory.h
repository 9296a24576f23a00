// Who holds KV: who gets some, what is shared, and what gives way when cells run out.
//
//   memory.Admit(sequence);      // it has a sequence in the engine, with all that can be shared
//   memory.Release(sequence);    // it has none; run again, it is decoded anew
//   memory.FillView(&view);      // what the planner of a step needs to know of cells
//   memory.Evict(plan.num_evict);
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "context/kv.h"
#include "loop/sequences.h"
#include "policy/step_plan.h"

namespace edgereason {

class Memory {
 public:
  Memory(Engine* engine, Sequences* sequences, std::int32_t park_cells);

  Kv& kv() noexcept { return kv_; }

  // True: `sequence` has KV now. It shares the longest beginning that somebody's KV holds, and its
  // prompt and its answers have their cells claimed. KV that nobody uses gives way.
  bool Admit(Sequence* sequence);
  // A more urgent sequence is reading a prompt that starts alike: in a few steps its KV can be
  // shared, so that waiting is cheaper than reading.
  bool IsComing(const Sequence& sequence) const noexcept;
  // Some sequence has KV, so that cells will come free.
  bool anyone_has_kv() const noexcept;

  void Release(Sequence* sequence) noexcept;
  void Trim(Sequence* sequence, std::int32_t len) noexcept;  // to the first `len` items, or fewer
  // `sequence` is closed. Its KV is kept for prompts that start alike with `park`, and in part
  // where it had a deadline.
  void Forget(Sequence* sequence, bool park);

  // Frees KV that nobody uses at present: what is parked, or that of a sequence between two runs,
  // which is decoded anew. False: there is none.
  bool EvictOne();
  // The first `num` that FillView has counted.
  void Evict(std::int32_t num);
  // Cells, and what could be evicted where they are short. After the sequences are in the view.
  void FillView(StepView* view);

  // Takes KV of `tokens` that was saved, as if it had just been parked. What is parked gives way,
  // nothing else does. False: there is no room for it. Throws what Engine::Load throws.
  bool Restore(ContextKey key, std::span<const Token> tokens, std::span<const std::uint8_t> state);

  // Loads a prefix and holds it. Throws what Engine::LoadPrefix throws, kContextFull without room.
  void LoadPrefix(PrefixRef prefix, const PrefixKv& kv);

 private:
  Kv::Match FindShared(const Sequence& sequence) noexcept;
  void ParkBeginning(Sequence* sequence);
  void SortIdle();

  Engine* engine_;
  Sequences* sequences_;
  const bool can_fork_;
  Kv kv_;
  std::vector<ContextItem> last_begun_;  // what the last with a deadline held when it ended
  std::vector<Sequence*> idle_;          // with KV, between two runs; by id
  std::vector<SeqId> candidates_;        // for eviction, in order; scratch of FillView
  std::vector<std::int32_t> freed_;      // the same
};

}  // namespace edgereason
