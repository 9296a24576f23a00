# Every extern of the policies that the tests look at from Python. Included by _core.pyx after scheduler.pxd.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.string cimport string
from libcpp.vector cimport vector


cdef extern from *:
    """
    #include <span>
    #include <string_view>
    #include "edgereason/phase.h"
    using TokenSpan = std::span<const edgereason::Token>;
    using StringView = std::string_view;
    """
    cdef cppclass TokenSpan:
        TokenSpan() noexcept nogil
        TokenSpan(const int32_t*, size_t) noexcept nogil

    cdef cppclass StringView:
        StringView() noexcept nogil
        StringView(const char*, size_t) noexcept nogil

    cdef cppclass LogitSpan "std::span<const float>":
        LogitSpan() noexcept nogil
        LogitSpan(const float*, size_t) noexcept nogil


cdef extern from "policy/stop.h" namespace "edgereason":
    cdef struct TextMatch "edgereason::TextMatcher::Match":
        int32_t pattern
        int32_t num_after
        int32_t num_pattern

    cdef cppclass CTextMatcher "edgereason::TextMatcher":
        CTextMatcher() noexcept
        CTextMatcher(vector[string]) except +translate_error
        TextMatch Feed(StringView) noexcept
        int32_t num_held() noexcept
        void Reset() noexcept

    int32_t NumUnfinishedUtf8(StringView) noexcept


cdef extern from "policy/marker.h" namespace "edgereason":
    cdef enum class MarkerEvent "edgereason::MarkerTracker::Event"(uint8_t):
        kNone "edgereason::MarkerTracker::Event::kNone"

    cdef cppclass CMarkerTracker "edgereason::MarkerTracker":
        CMarkerTracker() noexcept
        CMarkerTracker(
            vector[string], vector[string], vector[string], cbool
        ) except +translate_error
        MarkerEvent Feed(StringView, string*, string*) noexcept
        void ForceShut(string*) noexcept
        void Flush(string*, string*) noexcept
        cbool inside() noexcept
        int32_t num_held() noexcept


cdef extern from "policy/loop.h" namespace "edgereason":
    cdef cppclass CLoopDetector "edgereason::LoopDetector":
        CLoopDetector() noexcept
        CLoopDetector(const Loop&) except +translate_error
        cbool Push(TokenSpan) noexcept


cdef extern from "policy/budget.h" namespace "edgereason":
    cdef cppclass CTokenBudget "edgereason::TokenBudget":
        CTokenBudget() noexcept
        CTokenBudget(int32_t) noexcept
        cbool can_spend() noexcept
        void Spend() noexcept
        void Refund(int32_t) noexcept
        int32_t used() noexcept
        int32_t remaining() noexcept

    float SoftShare(float, int32_t, int32_t, cbool) noexcept
    cbool EndsSentence(StringView) noexcept


cdef extern from "policy/sampler.h" namespace "edgereason":
    cdef struct Sampled:
        int32_t token
        float logprob
        float margin
        float entropy

    cdef cppclass CSampler "edgereason::Sampler":
        CSampler(int32_t) except +translate_error
        Sampled Sample(
            LogitSpan, const Sampling&, TokenSpan, uint64_t, int32_t, float
        ) noexcept nogil

    double CounterUniform(uint64_t, uint64_t) noexcept


cdef extern from "policy/cost.h" namespace "edgereason":
    cdef cppclass CCostModel "edgereason::CostModel":
        CCostModel() noexcept
        void Observe(int32_t, int64_t, double) noexcept
        double StepMs(int32_t, int64_t) noexcept
        int32_t RowsWithin(double, int32_t) noexcept
        double load() noexcept
        double cell_ms() noexcept
        cbool known() noexcept


cdef extern from "policy/threads.h" namespace "edgereason":
    cdef cppclass CThreadGovernor "edgereason::ThreadGovernor":
        CThreadGovernor(int32_t, int32_t) except +translate_error
        int32_t num_threads() noexcept
        int32_t Observe(double, int32_t, double) noexcept
        void SetBusyCores(double, int32_t) noexcept

    cdef cppclass CLoadMeter "edgereason::LoadMeter":
        CLoadMeter() except +translate_error
        double BusyCores() noexcept
        int32_t num_cores() noexcept
