"""The planner against its slow twin, on whatever hypothesis thinks of."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference import plan as twin

policies = pytest.importorskip("_policies", reason="built by `make test`")

deadlines = st.one_of(st.just(math.inf), st.floats(1, 5000))
seqs = st.lists(
    st.builds(
        twin.Seq,
        priority=st.integers(0, 2),
        deadline_ms=deadlines,
        pending=st.integers(1, 300),
        owed_rows=st.integers(0, 20),
        owed_steps=st.integers(0, 60),
        thinking=st.booleans(),
        blocked=st.booleans(),
        watched=st.booleans(),
    ),
    max_size=12,
)
limits = st.builds(
    twin.Limits,
    max_rows=st.integers(1, 512),
    now_ms=st.floats(0, 2000),
    chunk_ms=st.floats(1, 200),
    margin=st.floats(1, 2),
)
steps = st.lists(st.tuples(st.integers(1, 256), st.floats(0.1, 100)), max_size=12)


def learned(observed: list[tuple[int, float]]) -> policies.CostModel:
    cost = policies.CostModel()
    for rows, ms in observed:
        cost.observe(rows, 0, ms)
    return cost


@given(seqs, limits, steps)
def test_num_to_close(plan: list[twin.Seq], limit: twin.Limits, observed: list[tuple[int, float]]):
    cost = learned(observed)
    plan = sorted(plan, key=lambda seq: seq.deadline_ms)
    dated = [i for i, seq in enumerate(plan) if math.isfinite(seq.deadline_ms)]
    assert policies.num_to_close(plan, dated, cost, limit) == twin.num_to_close(plan, cost, limit)


@given(seqs, limits, steps)
def test_grant_rows(plan: list[twin.Seq], limit: twin.Limits, observed: list[tuple[int, float]]):
    cost = learned(observed)
    plan = sorted(plan, key=lambda seq: (-seq.priority, seq.deadline_ms))
    dated = [i for i, seq in enumerate(plan) if math.isfinite(seq.deadline_ms)]
    dated.sort(key=lambda i: plan[i].deadline_ms)
    rows = policies.grant_rows(plan, dated, cost, limit)
    assert list(rows) == twin.grant_rows(plan, dated, cost, limit)
    assert sum(rows) <= limit.max_rows
    assert (sum(rows) > 0) == any(not seq.blocked for seq in plan)
