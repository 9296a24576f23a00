# Every extern of the scheduler. Included by _core.pyx; holds no logic.
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libcpp.memory cimport unique_ptr


cdef extern from "edgereason/phase.h" namespace "edgereason":
    cdef cppclass Sampling:
        pass

    cdef cppclass Probe:
        pass

    cdef cppclass Loop:
        int32_t max_period
        int32_t repeats
        int32_t min_tokens

    cdef cppclass Blend:
        pass

    cdef cppclass Phase:
        pass

    cdef cppclass PhaseResult:
        pass

    cdef cppclass Channel:
        pass


cdef extern from *:
    """
    #include "convert.h"
    namespace edgereason {
    inline PyObject* Names(std::string_view which) {
      if (which == "StopReason") return TupleOf(kStopReasonNames);
      if (which == "Role") return TupleOf(kRoleNames);
      if (which == "Channel") return TupleOf(kChannelNames);
      if (which == "Capability") return TupleOf(kCapabilityNames);
      if (which == "Sampling") return NamesOf<Sampling>();
      if (which == "Probe") return NamesOf<Probe>();
      if (which == "Loop") return NamesOf<Loop>();
      if (which == "Blend") return NamesOf<Blend>();
      if (which == "Phase") return NamesOf<Phase>();
      if (which == "PhaseResult") return NamesOf<PhaseResult>();
      PyErr_SetString(PyExc_KeyError, std::string(which).c_str());
      return nullptr;
    }
    }
    """


cdef extern from "convert.h" namespace "edgereason":
    int FillPhase "edgereason::Fill"(object, Phase*) except -1
    object DictOf(const PhaseResult&)
    object ToPython(Channel)
    object ToPython(Fault)
    const char* GRAMMAR_CAPSULE "edgereason::kGrammarCapsule"
    int FillNamed(const char*, object, int32_t*) except -1
    object Names(const char*)


cdef extern from "edgereason/event.h" namespace "edgereason":
    cdef cppclass Fault:
        pass

    cdef enum class EventKind "edgereason::Event::Kind"(uint8_t):
        kText "edgereason::Event::Kind::kText"
        kPhaseEnd "edgereason::Event::Kind::kPhaseEnd"
        kFailed "edgereason::Event::Kind::kFailed"

    cdef cppclass Event:
        EventKind kind
        Channel channel
        uint8_t num_bytes
        cbool last
        int64_t id
        PhaseResult* result
        Fault fault
        char text[48]

    string FaultText(const Event&, const string&) except +translate_error


cdef extern from "edgereason/sequence_options.h" namespace "edgereason":
    cdef cppclass SequenceOptions:
        int32_t priority
        double arrival_ms
        double deadline_ms
        int32_t think_budget
        cbool stream
        uint64_t context_key
        int32_t prefix

    cdef cppclass KeptTokens:
        uint64_t key
        vector[int32_t] tokens


cdef extern from "edgereason/scheduler.h" namespace "edgereason":
    cdef cppclass ThreadOptions:
        vector[int32_t] cores
        int32_t nice
        cbool lock_memory

    cdef cppclass SchedulerOptions:
        int32_t num_threads
        int32_t park_cells
        double chunk_ms
        double margin
        double answer_share
        double most_slack
        double delivery_ms
        int32_t lookahead
        ThreadOptions thread

    cdef struct SchedulerStats:
        int64_t num_steps
        int64_t num_rows
        int64_t num_sampled
        double decode_ms
        double sample_ms
        double overhead_ms
        double longest_ms
        double load
        double step_ms
        int32_t num_threads
        int32_t num_free_cells
        int32_t num_active
        int32_t num_waiting
        int32_t num_parked

    cdef cppclass LearnedLength:
        int32_t kind
        double weight
        double mean
        double spread

    cdef cppclass KnownCost:
        vector[double] knot_ms
        double cell_ms

    cdef cppclass IdAndChain "edgereason::Scheduler::IdAndChain":
        int64_t id
        vector[Phase] chain

    cdef cppclass CScheduler "edgereason::Scheduler":
        CScheduler(
            shared_ptr[CEngine], shared_ptr[CClock], const SchedulerOptions&, shared_ptr[CEngine]
        ) except +translate_error
        void Start() except +translate_error nogil
        void Stop() noexcept nogil
        string last_error() except +translate_error
        void WarmUp() except +translate_error nogil
        int64_t Open(const SequenceOptions&) except +translate_error
        void RunAll(vector[IdAndChain]) except +translate_error
        void StopThinking(int64_t) except +translate_error
        void Cancel(int64_t) except +translate_error
        void Close(int64_t, cbool) except +translate_error
        int32_t AddPrefix(const PrefixKv&) except +translate_error nogil
        void AddAdapters(uint64_t, const Adapters&) except +translate_error nogil
        void RestoreLengths(const vector[LearnedLength]&) except +translate_error
        vector[KeptTokens] kept() except +translate_error nogil
        vector[uint8_t] SaveKept(const KeptTokens&) except +translate_error nogil
        cbool RestoreKept(const KeptTokens&, ByteSpan) except +translate_error nogil
        int32_t NumKept(const KeptTokens&) except +translate_error nogil
        vector[LearnedLength] lengths() except +translate_error
        void RestoreCost(const KnownCost&) except +translate_error
        vector[Event] Take(double, size_t) except +translate_error nogil
        SchedulerStats stats() except +translate_error
        double NowMs() noexcept nogil
        cbool Step() noexcept nogil
