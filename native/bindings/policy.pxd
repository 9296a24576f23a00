# Every extern of the policies that the tests look at from Python. Included by _policies.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libcpp cimport bool as cbool
from libcpp.memory cimport unique_ptr
from libcpp.string cimport string
from libcpp.vector cimport vector


cdef extern from "edgereason/phase.h" namespace "edgereason":
    cdef cppclass Sampling:
        pass

    cdef cppclass Loop:
        int32_t max_period
        int32_t repeats
        int32_t min_tokens

    cdef cppclass Blend:
        pass


cdef extern from "convert.h" namespace "edgereason":
    int FillSampling "edgereason::Fill"(object, Sampling*) except -1
    int FillBlend "edgereason::Fill"(object, Blend*) except -1


cdef extern from "edgereason/context_item.h" namespace "edgereason":
    cdef cppclass ContextItem:
        @staticmethod
        ContextItem OfToken(int32_t) noexcept
        @staticmethod
        ContextItem Latent() noexcept


cdef extern from *:
    """
    #include <span>
    #include <string_view>
    #include "edgereason/context_item.h"
    #include "edgereason/phase.h"
    using TokenSpan = std::span<const edgereason::Token>;
    using StringView = std::string_view;
    using ItemSpan = std::span<const edgereason::ContextItem>;
    using GuessSpan = std::span<edgereason::Token>;
    """
    cdef cppclass GuessSpan:
        GuessSpan(int32_t*, size_t) noexcept nogil

    cdef cppclass ItemSpan:
        ItemSpan() noexcept nogil
        ItemSpan(const ContextItem*, size_t) noexcept nogil

    cdef cppclass TokenSpan:
        TokenSpan() noexcept nogil
        TokenSpan(const int32_t*, size_t) noexcept nogil

    cdef cppclass StringView:
        StringView() noexcept nogil
        StringView(const char*, size_t) noexcept nogil

    cdef cppclass LogitSpan "std::span<const float>":
        LogitSpan() noexcept nogil
        LogitSpan(const float*, size_t) noexcept nogil


cdef extern from "translate_error.h" namespace "edgereason":
    void translate_error()


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
            vector[string], vector[string], vector[string], cbool, vector[size_t]
        ) except +translate_error
        MarkerEvent Feed(StringView, string*, string*) noexcept
        void ForceShut(string*) noexcept
        void Flush(string*, string*) noexcept
        cbool inside() noexcept
        int32_t num_held() noexcept


cdef extern from "policy/repetition.h" namespace "edgereason":
    cdef cppclass CRepetitionDetector "edgereason::RepetitionDetector":
        CRepetitionDetector() noexcept
        CRepetitionDetector(const Loop&) except +translate_error
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

    cdef cppclass Weighted:
        int32_t token
        float weight

    cdef cppclass WeightedSpan "std::span<const edgereason::Weighted>":
        size_t size() noexcept nogil
        const Weighted* data() noexcept nogil

    cdef cppclass CSampler "edgereason::Sampler":
        CSampler(int32_t) except +translate_error
        Sampled Sample(
            LogitSpan, const Sampling&, ItemSpan, uint64_t, int32_t, float
        ) noexcept nogil
        WeightedSpan Weigh(
            LogitSpan, const Sampling&, const Blend&, ItemSpan, uint64_t
        ) noexcept nogil

    double CounterUniform(uint64_t, uint64_t) noexcept
    cbool LogProbs(LogitSpan, TokenSpan, vector[double]*) except +translate_error


cdef extern from "policy/blend.h" namespace "edgereason":
    cdef cppclass CBlendSwitch "edgereason::BlendSwitch":
        CBlendSwitch() noexcept
        cbool Next(const Blend&, double) noexcept
        cbool is_over(const Blend&) noexcept


cdef extern from "policy/cost.h" namespace "edgereason":
    cdef cppclass CCostModel "edgereason::CostModel":
        CCostModel() noexcept
        void Observe(int32_t, int64_t, double) noexcept
        double StepMs(int32_t, int64_t) noexcept
        void Restore(const vector[double]&, double) noexcept
        int32_t RowsWithin(double, int32_t) noexcept
        double load() noexcept
        double cell_ms() noexcept
        cbool known() noexcept


cdef extern from "policy/lookahead.h" namespace "edgereason":
    cdef struct Guessed:
        int32_t num
        int32_t match
        double guess_ms

    int32_t kDrafted
    Guessed GuessNext(ItemSpan, GuessSpan) noexcept

    cdef cppclass CLookahead "edgereason::Lookahead":
        CLookahead() noexcept
        int32_t NumWorth(const CCostModel&, int32_t, const Guessed&) noexcept
        void Learn(int32_t, int32_t) noexcept
