# Every extern of the grammars. Included by _core.pyx.

cdef extern from *:
    """
    #include "edgereason/grammar.h"
    using MaskSpan = std::span<const std::uint32_t>;
    using TokensSpan = std::span<const edgereason::Token>;
    """
    cdef cppclass MaskSpan:
        const uint32_t* data() noexcept nogil
        size_t size() noexcept nogil

    cdef cppclass TokensSpan:
        const int32_t* data() noexcept nogil
        size_t size() noexcept nogil


cdef extern from "edgereason/grammar.h" namespace "edgereason":
    cdef cppclass CGrammar "edgereason::Grammar":
        unique_ptr[CGrammar] Clone() except +translate_error nogil
        cbool is_json() noexcept nogil


cdef extern from "guidance.h" namespace "edgereason":
    cdef cppclass Guidance:
        @staticmethod
        shared_ptr[const Guidance] Open(const string&, shared_ptr[CEngine]) except +translate_error nogil
        unique_ptr[CGrammar] Compile(const string&, const string&) except +translate_error nogil


cdef extern from "context/guide.h" namespace "edgereason":
    cdef cppclass CGuide "edgereason::Guide":
        CGuide(shared_ptr[CGrammar], int32_t) except +translate_error nogil
        cbool Prepare() noexcept nogil
        MaskSpan mask() noexcept nogil
        cbool Accept(int32_t, int32_t) except +translate_error nogil
        vector[int32_t] Forced() except +translate_error nogil
        cbool MustEnd() noexcept nogil
        TokensSpan Ending() noexcept nogil
        cbool ends_valid() noexcept nogil
