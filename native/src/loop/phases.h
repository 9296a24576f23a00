// How phases begin and end: the KV is cut back, probes end, the outside is told, and what follows
// by itself begins.
#pragma once

#include <vector>

#include "context/sequence.h"
#include "loop/memory.h"
#include "loop/outbox.h"
#include "loop/probes.h"
#include "loop/sequences.h"
#include "policy/lengths.h"

namespace edgereason {

class Phases {
 public:
  Phases(Sequences* sequences, Memory* memory, Probes* probes, Outbox* outbox, Lengths* lengths)
      : sequences_(sequences),
        memory_(memory),
        probes_(probes),
        outbox_(outbox),
        lengths_(lengths) {}

  // Appends to the chain of `sequence`, and begins it where nothing runs.
  void Run(Sequence* sequence, std::vector<Phase> chain, double now_ms);
  // Ends the phase that runs; the next one of the chain begins.
  void End(Sequence* sequence, const Sequence::Verdict& verdict, double now_ms);
  // Ends the phase that runs, and with it the chain.
  void EndChain(Sequence* sequence, StopReason reason, double now_ms);
  // Ends thinking, where it thinks; the answer follows.
  void CloseThinking(Sequence* sequence, StopReason reason, double now_ms);
  // `sequence` is broken: it ends here, whatever state it is in, and takes no further phases.
  void Break(Sequence* sequence, Fault fault, std::int64_t step) noexcept;

 private:
  void LearnLength(Role role, std::int32_t kind, const PhaseResult& result);
  void Advance(Sequence* sequence, double now_ms);

  Sequences* sequences_;
  Memory* memory_;
  Probes* probes_;
  Outbox* outbox_;
  Lengths* lengths_;
};

}  // namespace edgereason
