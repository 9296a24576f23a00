# The planner's pure functions, for the twins in tests/reference/plan.py.

cdef vector[PlanSeq] _plan_seqs(seqs) except *:
    cdef vector[PlanSeq] out
    cdef PlanSeq each
    for seq in seqs:
        each.priority = seq.priority
        each.deadline_ms = seq.deadline_ms
        each.pending = seq.pending
        each.owed_rows = seq.owed_rows
        each.owed_steps = seq.owed_steps
        each.thinking = seq.thinking
        each.blocked = seq.blocked
        each.watched = seq.watched
        out.push_back(each)
    return out


cdef PlanLimits _plan_limits(limits) except *:
    cdef PlanLimits out
    out.max_rows = limits.max_rows
    out.now_ms = limits.now_ms
    out.chunk_ms = limits.chunk_ms
    out.margin = limits.margin
    out.slack = limits.slack
    return out


def num_to_close(seqs, by_deadline, CostModel cost not None, limits):
    cdef vector[PlanSeq] native = _plan_seqs(seqs)
    cdef vector[int32_t] order = by_deadline
    return NumToClose(
        PlanSpan(native.data(), native.size()), IndexSpan(order.data(), order.size()), cost.core,
        _plan_limits(limits),
    )


def grant_rows(seqs, by_deadline, CostModel cost not None, limits):
    cdef vector[PlanSeq] native = _plan_seqs(seqs)
    cdef vector[int32_t] order = by_deadline
    cdef vector[int32_t] rows
    rows.resize(native.size())
    GrantRows(
        PlanSpan(native.data(), native.size()), IndexSpan(order.data(), order.size()), cost.core,
        _plan_limits(limits), RowsSpan(rows.data(), rows.size()),
    )
    return rows
