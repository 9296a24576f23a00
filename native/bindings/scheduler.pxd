# Every extern of the scheduler. Included by _core.pyx; holds no logic.
from libc.stdint cimport int64_t, uint64_t
from libcpp.memory cimport unique_ptr


cdef extern from "edgereason/phase.h" namespace "edgereason":
    cdef cppclass LogitBias:
        int32_t token
        float bias

    cdef cppclass Sampling:
        float temperature
        int32_t top_k
        float top_p
        float min_p
        float repetition_penalty
        float presence_penalty
        int32_t penalty_window
        uint64_t seed
        vector[LogitBias] bias

    cdef cppclass Probe:
        int32_t every
        vector[int32_t] cue
        int32_t tokens
        int32_t agree

    cdef cppclass Loop:
        int32_t max_period
        int32_t repeats
        int32_t min_tokens

    cdef cppclass Phase:
        Channel channel
        optional[vector[int32_t]] fresh
        int32_t latent
        cbool retract
        vector[int32_t] force
        int32_t budget
        float soft
        vector[string] open
        vector[string] shut
        vector[int32_t] close
        vector[string] stop
        int32_t owed
        Sampling sampling
        Probe probe
        Loop loop

    cdef enum class Channel(uint8_t):
        kAnswer
        kReasoning

    cdef enum class StopReason(uint8_t):
        kStop

    cdef cppclass PhaseResult:
        StopReason reason
        int32_t mark
        vector[int32_t] tokens
        string text
        string reasoning
        string probe
        cbool has_probe
        int32_t num_reasoning
        int32_t num_latent
        int32_t num_probe_tokens
        int32_t num_steps
        int32_t num_prompt
        int32_t num_cached
        int32_t num_cells
        double mean_logprob
        double min_logprob
        double mean_margin
        double mean_entropy
        double queue_ms
        double prefill_ms
        double decode_ms


cdef extern from "edgereason/event.h" namespace "edgereason":
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
        char text[48]


cdef extern from "context/sequence.h" namespace "edgereason":
    cdef cppclass SequenceOptions:
        int32_t priority
        double arrival_ms
        double deadline_ms
        int32_t think_budget
        cbool stream


cdef extern from "edgereason/scheduler.h" namespace "edgereason":
    cdef cppclass SchedulerOptions:
        int32_t num_threads
        int32_t park_cells
        double chunk_ms
        double margin
        double delivery_ms

    cdef struct SchedulerStats:
        int64_t num_steps
        int64_t num_rows
        int64_t num_sampled
        double decode_ms
        double sample_ms
        double overhead_ms
        double load
        double step_ms
        int32_t num_threads
        int32_t num_free_cells
        int32_t num_active
        int32_t num_waiting
        int32_t num_parked

    cdef cppclass IdAndChain "edgereason::Scheduler::IdAndChain":
        int64_t id
        vector[Phase] chain

    cdef cppclass CScheduler "edgereason::Scheduler":
        CScheduler(shared_ptr[CEngine], shared_ptr[CClock], const SchedulerOptions&) except +translate_error
        void Start() except +translate_error nogil
        void Stop() noexcept nogil
        void WarmUp() except +translate_error nogil
        int64_t Open(const SequenceOptions&) except +translate_error
        void Run(int64_t, vector[Phase]) except +translate_error
        void RunAll(vector[IdAndChain]) except +translate_error
        void StopThinking(int64_t) except +translate_error
        void Cancel(int64_t) except +translate_error
        void Close(int64_t, cbool) except +translate_error
        int32_t AddPrefix(const PrefixKv&) except +translate_error nogil
        vector[Event] Take(double, size_t) except +translate_error nogil
        SchedulerStats stats() except +translate_error
        double NowMs() noexcept nogil
        cbool Step() noexcept nogil
