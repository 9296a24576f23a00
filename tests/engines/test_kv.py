"""Seats of a pool against a twin that recomputes; tokens stand for keys and values."""

from __future__ import annotations

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from edgereason.engines.graph.kv import PooledModel, Run

SEATS, CAPACITY, VOCAB, EMBD = 6, 12, 97, 3
GARBAGE = -7777


def logits_of(tokens: list[int]) -> int:
    """What a row answers: depends on each token before it and its place."""
    value = 1
    for token in tokens:
        value = (value * 31 + token + 1) % 1_000_003
    return value % VOCAB


class Pool:
    """An executor whose KV are the tokens themselves."""

    def __init__(self) -> None:
        self.kv = np.full((SEATS, CAPACITY), GARBAGE, np.int64)
        self.runs: list[tuple[int, int, int]] = []
        self.copies: list[tuple[int, int, int]] = []

    def run(self, run: Run) -> None:
        tokens, past, first = run.tokens, run.past, run.first
        batch, length = tokens.shape
        assert batch == 1 or length == 1
        assert past.shape == (batch,)
        assert run.logits.flags.c_contiguous
        self.runs.append((first, batch, length))
        values = tokens.copy()
        for index in np.argwhere(tokens < 0):
            assert run.embeddings is not None
            values[tuple(index)] = 500 + int(run.embeddings[tuple(index)].sum())
        for i in range(batch):
            self.kv[first + i, past[i] : past[i] + length] = values[i]
            assert past[i] + length <= CAPACITY
        run.logits[:] = 0
        for out, row in enumerate(run.rows.tolist()):
            i, t = divmod(row, length)
            seen = self.kv[first + i, : past[i] + t + 1].tolist()
            assert GARBAGE not in seen
            run.logits[out, logits_of(seen)] = 1
            run.hidden[out] = logits_of(seen)

    def copy(self, source: int, target: int, length: int) -> None:
        self.copies.append((source, target, length))
        self.kv[target, :length] = self.kv[source, :length]
        self.kv[target, length:] = GARBAGE

    def read(self, seat: int, length: int) -> bytes:
        return self.kv[seat, :length].tobytes()

    def write(self, seat: int, length: int, data: bytes) -> None:
        self.kv[seat, :length] = np.frombuffer(data, np.int64)


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def model(pool: Pool) -> PooledModel:
    return PooledModel(pool, num_seats=SEATS, capacity=CAPACITY, num_vocab=VOCAB, num_embd=EMBD)


Rows = list[tuple[int, int, int, bool]]


def decode(
    model: PooledModel, rows: Rows, embeddings: NDArray[np.float32] | None = None
) -> list[int]:
    """The answers of the rows with output; hidden states say the same."""
    seqs, positions, tokens, outputs = zip(*rows, strict=True)
    logits, hidden = model.decode(
        np.array(seqs, np.int32),
        np.array(positions, np.int32),
        np.array(tokens, np.int32),
        np.array(outputs, bool),
        embeddings,
    )
    answers = [int(row.argmax()) for row in logits[: sum(outputs)]]
    assert [int(row[0]) for row in hidden[: sum(outputs)]] == answers
    return answers


def put(model: PooledModel, seq: int, tokens: list[int], start: int = 0) -> int:
    last = len(tokens) - 1
    (answer,) = decode(model, [(seq, start + i, t, i == last) for i, t in enumerate(tokens)])
    return answer


class TestRuns:
    def test_single_rows_run_together_others_alone(self, model: PooledModel, pool: Pool) -> None:
        rows = [(2, 0, 5, True), (1, 0, 7, True), (0, 0, 1, False), (0, 1, 2, True)]
        assert decode(model, rows) == [logits_of([5]), logits_of([7]), logits_of([1, 2])]
        assert sorted((batch, length) for _, batch, length in pool.runs) == [(1, 2), (2, 1)]

    def test_answers_follow_the_rows_not_the_seats(self, model: PooledModel) -> None:
        for seq in (0, 1, 2, 3):
            put(model, seq, [seq])
        rows = [(seq, 1, 10 + seq, True) for seq in (3, 0, 2, 1)]
        assert decode(model, rows) == [logits_of([seq, 10 + seq]) for seq in (3, 0, 2, 1)]

    def test_a_chunk_without_output(self, model: PooledModel) -> None:
        assert decode(model, [(0, 0, 1, False), (0, 1, 2, False)]) == []
        assert put(model, 0, [3], start=2) == logits_of([1, 2, 3])

    def test_embeddings_beside_tokens(self, model: PooledModel) -> None:
        given = np.zeros((3, EMBD), np.float32)
        given[1] = 4
        rows = [(0, 0, 1, False), (0, 1, -1, True), (1, 0, 2, True)]
        assert decode(model, rows, given) == [logits_of([1, 512]), logits_of([2])]


class TestWindows:
    def test_a_few_idle_seats_ride_along(self, model: PooledModel, pool: Pool) -> None:
        for seq in range(3):
            put(model, seq, [seq, seq])
        pool.runs.clear()
        assert decode(model, [(0, 2, 9, True), (2, 2, 9, True)]) == [
            logits_of([0, 0, 9]),
            logits_of([2, 2, 9]),
        ]
        assert pool.runs == [(0, 3, 1)]
        assert put(model, 1, [5], start=2) == logits_of([1, 1, 5])  # what it idled is forgotten

    def test_a_full_one_does_not(self, model: PooledModel, pool: Pool) -> None:
        put(model, 0, [0])
        put(model, 1, [1] * CAPACITY)
        put(model, 2, [2])
        pool.runs.clear()
        decode(model, [(0, 1, 9, True), (2, 1, 9, True)])
        assert pool.runs == [(0, 1, 1), (2, 1, 1)]
        assert pool.kv[1].tolist() == [1] * CAPACITY

    def test_distant_seats_move_together_once(self, model: PooledModel, pool: Pool) -> None:
        for seq in range(6):
            put(model, seq, [seq] * (seq + 1))
        for seq in (1, 2, 3, 4):
            model.trim(seq, 0)
        pool.runs.clear()
        rows = [(0, 1, 9, True), (5, 6, 9, True)]
        assert decode(model, rows) == [logits_of([0, 9]), logits_of([5] * 6 + [9])]
        assert pool.copies[-1][2] == 1  # the shorter one
        assert [batch for _, batch, _ in pool.runs] in ([2], [3])
        num = len(pool.copies)
        decode(model, [(0, 2, 9, True), (5, 7, 9, True)])
        assert len(pool.copies) == num

    def test_where_nothing_can_move_there_are_several(self, model: PooledModel, pool: Pool) -> None:
        for seq in range(6):
            put(model, seq, [seq])
        pool.runs.clear()
        decode(model, [(0, 1, 9, True), (5, 1, 9, True)])
        assert pool.runs == [(0, 1, 1), (5, 1, 1)]
        assert pool.copies == []


def test_saved_kv_comes_back(model: PooledModel) -> None:
    put(model, 0, [1, 2, 3])
    data = model.save(0)
    model.trim(0, 0)
    model.load(4, 3, data)
    assert put(model, 4, [4], start=3) == logits_of([1, 2, 3, 4])


@pytest.mark.parametrize("seed", range(100))
def test_any_order_of_operations_equals_recomputing(model: PooledModel, seed: int) -> None:
    rng = random.Random(seed)
    held: dict[int, list[int]] = {seq: [] for seq in range(SEATS)}
    for _ in range(60):
        act = rng.choice(["step", "step", "step", "fork", "trim", "drop"])
        seq = rng.randrange(SEATS)
        if act == "step":
            rows, expected = [], []
            for each in rng.sample(range(SEATS), rng.randint(1, SEATS)):
                room = CAPACITY - len(held[each])
                for _ in range(min(room, rng.choice([1, 1, 1, 2, 3]))):
                    rows.append((each, len(held[each]), rng.randrange(90), rng.random() < 0.4))
                    held[each].append(rows[-1][2])
                    if rows[-1][3]:
                        expected.append(logits_of(held[each]))
            if sum(row[3] for row in rows) <= SEATS and rows:
                assert decode(model, rows) == expected
            else:
                for row in reversed(rows):
                    held[row[0]].pop()
        elif act == "fork":
            target = rng.randrange(SEATS)
            if held[seq] and not held[target]:
                length = rng.randint(1, len(held[seq]))
                model.fork(seq, target, length)
                held[target] = held[seq][:length]
        elif held[seq]:
            length = rng.randrange(len(held[seq])) if act == "trim" else 0
            model.trim(seq, length)
            del held[seq][length:]
