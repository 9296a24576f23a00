# What all bindings share: errors, clocks and the engine interface. Included by _core.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libcpp cimport bool as cbool
from libcpp.memory cimport dynamic_pointer_cast, make_shared, shared_ptr, static_pointer_cast
from libcpp.optional cimport optional
from libcpp.string cimport string
from libcpp.vector cimport vector


cdef extern from *:
    """
    #include <span>
    #include "edgereason/engine.h"
    using FloatSpan = std::span<const float>;
    using FloatRoom = std::span<float>;
    using RowSpan = std::span<const edgereason::Row>;
    using ByteSpan = std::span<const std::uint8_t>;
    """
    cdef cppclass FloatSpan:
        FloatSpan() noexcept nogil
        FloatSpan(const float*, size_t) noexcept nogil
        const float* data() noexcept nogil
        size_t size() noexcept nogil

    cdef cppclass FloatRoom:
        FloatRoom() noexcept nogil
        FloatRoom(float*, size_t) noexcept nogil

    cdef cppclass RowSpan:
        RowSpan() noexcept nogil
        RowSpan(const CRow*, size_t) noexcept nogil

    cdef cppclass ByteSpan:
        ByteSpan() noexcept nogil
        ByteSpan(const uint8_t*, size_t) noexcept nogil


cdef extern from "translate_error.h" namespace "edgereason":
    void translate_error()


cdef extern from "edgereason/clock.h" namespace "edgereason":
    cdef cppclass CClock "edgereason::Clock":
        double NowMs() noexcept nogil

    cdef cppclass CSteadyClock "edgereason::SteadyClock"(CClock):
        CSteadyClock()

    cdef cppclass CManualClock "edgereason::ManualClock"(CClock):
        CManualClock()
        void Advance(double) noexcept nogil


cdef extern from "edgereason/engine.h" namespace "edgereason":
    cdef cppclass CRow "edgereason::Row":
        int32_t seq
        int32_t pos
        int32_t token
        const float* embedding
        cbool output
        cbool logits

    cdef enum class Status(uint8_t):
        kOk
        kNoCells
        kFailed

    cdef struct EngineInfo:
        uint32_t caps
        int32_t num_vocab
        int32_t num_embd
        int32_t num_cells
        int32_t max_rows
        int32_t max_seqs
        int32_t max_threads
        int64_t cell_bytes

    cdef cppclass Vocab:
        size_t LongestPiece() noexcept nogil
        vector[string] pieces
        vector[uint8_t] ends
        vector[uint8_t] control
        int32_t bos
        cbool add_bos

    cdef cppclass LoraFile:
        string path
        float scale

    cdef cppclass Adapters:
        vector[LoraFile] loras
        vector[float] steering

    cdef struct PrefixKv:
        int32_t num_layers
        int32_t num_kv_heads
        int32_t num_positions
        int32_t head_dim
        FloatSpan keys
        FloatSpan values

    cdef cppclass CEngine "edgereason::Engine":
        const EngineInfo& info() noexcept nogil
        const Vocab& vocab() noexcept nogil
        string last_error() except +translate_error
        vector[int32_t] Tokenize(const string&, cbool) except +translate_error nogil
        Status Decode(RowSpan) noexcept nogil
        FloatSpan Logits(int32_t) noexcept nogil
        FloatSpan Hidden(int32_t) noexcept nogil
        cbool Embed(int32_t, FloatRoom) noexcept nogil
        cbool Fork(int32_t, int32_t, int32_t) noexcept nogil
        cbool Trim(int32_t, int32_t) noexcept nogil
        void Drop(int32_t) noexcept nogil
        vector[uint8_t] Save(int32_t) except +translate_error nogil
        void Load(int32_t, ByteSpan) except +translate_error nogil
        void LoadPrefix(int32_t, const PrefixKv&) except +translate_error nogil
        void SetThreads(int32_t) noexcept nogil
