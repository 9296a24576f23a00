# Every extern of the planner that the twins look at. Included by _policies.pyx after policy.pxd.

cdef extern from "policy/plan.h" namespace "edgereason":
    cdef cppclass PlanSeq:
        int32_t priority
        double deadline_ms
        int32_t pending
        int32_t owed_rows
        int32_t owed_steps
        cbool thinking
        cbool blocked
        cbool watched

    cdef cppclass PlanLimits:
        int32_t max_rows
        double now_ms
        double chunk_ms
        double margin
        double slack

    int32_t NumToClose(PlanSpan, IndexSpan, const CCostModel&, const PlanLimits&) noexcept
    int32_t GrantRows(PlanSpan, IndexSpan, const CCostModel&, const PlanLimits&, RowsSpan) noexcept


cdef extern from *:
    """
    #include "policy/plan.h"
    using PlanSpan = std::span<const edgereason::PlanSeq>;
    using IndexSpan = std::span<const std::int32_t>;
    using RowsSpan = std::span<std::int32_t>;
    """
    cdef cppclass PlanSpan:
        PlanSpan(const PlanSeq*, size_t) noexcept

    cdef cppclass IndexSpan:
        IndexSpan(const int32_t*, size_t) noexcept

    cdef cppclass RowsSpan:
        RowsSpan(int32_t*, size_t) noexcept
