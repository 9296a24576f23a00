"""What every engine must do: a new engine is added to `ENGINES` and passes the same suite."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgereason import engines
from edgereason.errors import BundleError, ContextFullError, EngineError, UsageError
from edgereason.grammars import Grammar
from edgereason.prompt.lowering import lower
from edgereason.records import Capability, Phase, Segment
from edgereason.registry import names
from edgereason.runtime.grammars import Grammars
from support.engine_cases import CASES, STORY, TEXT, Case, feed, fill, fresh, output

if TYPE_CHECKING:
    from edgereason._core import Engine

NAMES = tuple(CASES)


def needs(engine: Engine, capability: Capability) -> None:
    if capability not in Capability(engine.info["caps"]):
        pytest.skip(f"this model cannot {capability.name}")


def test_every_engine_is_in_this_suite() -> None:
    assert set(names(engines)) == {engine for engine, _ in CASES.values()}


class TestOpened:
    def test_can_no_more_than_its_module_says(self, case: Case, engine: Engine) -> None:
        caps = Capability(engine.info["caps"])
        assert Capability.LOGITS in caps
        assert caps in case.module.caps

    def test_tells_its_sizes(self, engine: Engine) -> None:
        info = engine.info
        assert (info["num_cells"], info["max_seqs"], info["max_rows"]) == (256, 8, 64)
        assert min(info["num_vocab"], info["num_embd"], info["max_threads"]) > 0


class TestVocabulary:
    def test_text_comes_back(self, engine: Engine) -> None:
        for text in (TEXT, "", "a\nb\tc  d", "Grüße, 世界 🤖", "nul\0byte"):
            assert engine.detokenize(engine.tokenize(text)) == text.encode()

    def test_tokens_are_the_callers_own(self, engine: Engine) -> None:
        tokens = engine.tokenize("Yes")  # so short that the engine remembers them
        tokens.append(0)
        assert engine.tokenize("Yes") == tokens[:-1]

    def test_control_tokens_only_when_asked_for(self, engine: Engine) -> None:
        (token,) = engine.tokenize("<|im_end|>", parse_control=True)
        assert engine.is_control(token)
        assert engine.ends(token)
        assert engine.piece(token) == b"<|im_end|>"
        plain = engine.tokenize("<|im_end|>")
        assert len(plain) > 1
        assert not any(map(engine.is_control, plain))

    def test_refuses_what_is_not_text(self, engine: Engine) -> None:
        with pytest.raises(UsageError, match="not UTF-8"):
            engine.tokenize("\ud800")
        with pytest.raises(UsageError, match="no token"):
            engine.piece(engine.info["num_vocab"])


class TestGrammars:
    @pytest.mark.parametrize("budget", [1, 7, 20, 60])
    def test_json_parses_and_validates_where_there_is_room(
        self, engine: Engine, budget: int
    ) -> None:
        pytest.importorskip("llguidance")
        text, is_valid = json_answer(engine, budget)
        value = json.loads(text)
        if is_valid:
            assert isinstance(value["name"], str)
            assert isinstance(value["ok"], bool)
        assert is_valid or budget < 60


def json_answer(engine: Engine, budget: int) -> tuple[str, bool]:
    """An answer with a schema, and whether a valid one fits into the budget."""
    from edgereason import _core

    schema = {"properties": {"name": {"type": "string"}, "ok": {"type": "boolean"}}}
    grammar = Grammar.json({**schema, "type": "object", "required": ["name", "ok"]})
    compiled = Grammars(engine).get(grammar).core
    phase = Phase("answer", fresh=(Segment(TEXT),), budget=budget, grammar=grammar)
    (lowered,) = lower(phase, engine)
    lowered.grammar = compiled
    scheduler = _core.Scheduler(engine, threads=1)
    scheduler.warm_up()
    sequence = scheduler.open()
    scheduler.run(sequence, [lowered])
    while True:
        scheduler.step()
        for event in scheduler.take(0):
            assert event[1] == "phase", event
            assert len(event[3]["tokens"]) <= budget
            return event[3]["text"].decode(), _core.Guide(compiled, budget).ends_valid


class TestLogits:
    def test_only_where_asked_for(self, engine: Engine) -> None:
        tokens = engine.tokenize(TEXT)
        logits = feed(engine, 0, tokens)
        assert logits.shape == (engine.info["num_vocab"],)
        assert np.isfinite(logits).all()
        assert engine.logits(0) is None
        assert engine.logits(-1) is None
        assert engine.logits(engine.info["max_rows"]) is None

    def test_go_on_with_the_text(self, case: Case, engine: Engine) -> None:
        if case.name != "scripted" and not case.name.endswith("smollm2"):
            pytest.skip("this model makes no sense")
        logits = feed(engine, 0, engine.tokenize("The quick brown fox jumps over the lazy"))
        assert engine.piece(int(logits.argmax())) in (b" ", b" dog")

    def test_depend_on_every_token(self, engine: Engine) -> None:
        tokens = engine.tokenize(TEXT)[:6]
        other = [engine.tokenize("A")[0], *tokens[1:]]
        assert not np.array_equal(fresh(engine, tokens), fresh(engine, other))

    @pytest.mark.parametrize("chunk", [1, 2, 7])
    def test_do_not_depend_on_chunks(self, case: Case, engine: Engine, chunk: int) -> None:
        tokens = engine.tokenize(TEXT)
        whole = feed(engine, 0, tokens)
        assert case.same(feed(engine, 1, tokens, chunk=chunk), whole)

    def test_do_not_depend_on_others_in_the_step(self, case: Case, engine: Engine) -> None:
        texts = [engine.tokenize(text)[:10] for text in ("One", "Two and two", TEXT, "I think")]
        order = [seq for seq, tokens in enumerate(texts) for _ in tokens]
        random.Random(1).shuffle(order)
        rows, done = [], Counter[int]()
        for seq in order:
            pos = done[seq]
            rows.append((seq, pos, texts[seq][pos], pos == len(texts[seq]) - 1))
            done[seq] += 1
        engine.decode(rows)
        together = {row[0]: output(engine, i) for i, row in enumerate(rows) if row[3]}
        for seq, tokens in enumerate(texts):
            assert case.same(together[seq], fresh(engine, tokens))

    def test_do_not_depend_on_threads(self, case: Case, engine: Engine) -> None:
        tokens = engine.tokenize(TEXT)
        before = fresh(engine, tokens)
        for num_threads in (1, engine.info["max_threads"]):
            engine.set_threads(num_threads)
            assert case.same(fresh(engine, tokens), before)

    def test_of_every_sequence_in_one_step(self, engine: Engine) -> None:
        num = engine.info["max_seqs"]
        engine.decode([(seq, 0, 1, True) for seq in range(num)])
        assert all(engine.logits(row) is not None for row in range(num))


class TestHiddenAndEmbeddings:
    def test_hidden_state_can_be_fed_back(self, case: Case, engine: Engine) -> None:
        tokens = engine.tokenize(TEXT)
        feed(engine, 0, tokens)
        hidden = engine.hidden(len(tokens) - 1)
        assert hidden is not None
        assert hidden.shape == (engine.info["num_embd"],)
        assert np.isfinite(hidden).all()
        assert engine.hidden(0) is None
        end = len(tokens)
        for seq in (1, 2):
            assert engine.fork(0, seq, end)
        engine.decode([(0, end, hidden, True), (1, end, tokens[0], True)])
        thought, said = output(engine, 0), output(engine, 1)
        assert not np.array_equal(thought, said)
        engine.decode([(2, end, hidden, True)])
        assert case.same(output(engine, 0), thought)

    def test_an_embedding_of_another_size_is_refused(self, engine: Engine) -> None:
        with pytest.raises(UsageError, match="an embedding has"):
            engine.decode([(0, 0, np.zeros(engine.info["num_embd"] + 1, np.float32), True)])


class TestSequences:
    def test_a_fork_goes_on_by_itself(self, case: Case, engine: Engine) -> None:
        tokens = engine.tokenize(TEXT)
        feed(engine, 0, tokens[:5])
        assert engine.fork(0, 1, 5)
        feed(engine, 0, tokens[5:], start=5)
        other = engine.tokenize(" and so on and on")
        assert case.same(feed(engine, 1, other, start=5), fresh(engine, [*tokens[:5], *other]))
        more = engine.tokenize(" Then")
        assert case.same(feed(engine, 0, more, start=len(tokens)), fresh(engine, [*tokens, *more]))

    def test_a_fork_outlives_its_source(self, case: Case, engine: Engine) -> None:
        tokens = engine.tokenize(TEXT)
        feed(engine, 0, tokens)
        assert engine.fork(0, 1, len(tokens))
        engine.drop(0)
        fill(engine, 0, 100)
        assert case.same(feed(engine, 1, [1], start=len(tokens)), fresh(engine, [*tokens, 1]))

    def test_a_fork_of_the_beginning(self, case: Case, engine: Engine) -> None:
        tokens = engine.tokenize(TEXT)
        feed(engine, 0, tokens)
        if not engine.fork(0, 1, 5):
            # A recurrent model has its state at the end only; what is refused changes nothing.
            assert Capability.TRIM not in Capability(engine.info["caps"])
            assert engine.fork(0, 1, len(tokens))
            return
        other = engine.tokenize(" else")
        assert case.same(feed(engine, 1, other, start=5), fresh(engine, [*tokens[:5], *other]))

    def test_trimmed_text_is_forgotten(self, case: Case, engine: Engine) -> None:
        needs(engine, Capability.TRIM)
        tokens = engine.tokenize(TEXT)
        feed(engine, 0, tokens)
        assert engine.trim(0, 4)
        other = engine.tokenize(" something else")
        assert case.same(feed(engine, 0, other, start=4), fresh(engine, [*tokens[:4], *other]))

    def test_everything_can_be_trimmed(self, case: Case, engine: Engine) -> None:
        tokens = engine.tokenize(TEXT)
        feed(engine, 0, tokens)
        assert engine.trim(0, len(tokens))
        assert engine.trim(0, 0)
        assert case.same(feed(engine, 0, tokens), fresh(engine, tokens))

    def test_what_cannot_be_is_refused(self, engine: Engine) -> None:
        feed(engine, 0, [1, 2, 3])
        feed(engine, 1, [1])
        num = engine.info["max_seqs"]
        assert not engine.fork(0, 1, 2)  # not empty
        assert not engine.fork(0, 0, 2)
        assert not engine.fork(0, 2, 4)  # longer than it is
        assert not engine.fork(0, 2, -1)
        assert not engine.fork(num, 2, 1)
        assert not engine.fork(0, num, 1)
        assert not engine.trim(0, 4)
        assert not engine.trim(0, -1)
        assert not engine.trim(num, 0)
        engine.drop(num)
        engine.decode([(0, 3, 4, True), (1, 1, 2, True)])  # nothing was changed

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([(8, 0, 1, True)], "no sequence 8"),
            ([(-1, 0, 1, True)], "no sequence -1"),
            ([(0, 1, 1, True)], "position 1 of sequence 0, expected 0"),
            ([(0, 0, 1, False), (0, 0, 1, True)], "position 0 of sequence 0, expected 1"),
            ([(0, 0, -1, True)], "no token -1"),
            ([(0, 0, 1 << 30, True)], "no token"),
            ([(0, pos, 1, False) for pos in range(65)], "at most 64 rows"),
            ([(0, pos, 1, True) for pos in range(9)], "at most 8 rows with output"),
        ],
    )
    def test_wrong_rows_change_nothing(
        self, engine: Engine, rows: list[tuple[int, int, int, bool]], message: str
    ) -> None:
        with pytest.raises(EngineError, match=message):
            engine.decode(rows)
        engine.decode([(0, 0, 1, True)])


class TestCells:
    @pytest.fixture(autouse=True)
    def _has_cells(self, case: Case) -> None:
        if case.name == "recurrent":
            pytest.skip("a recurrent model keeps one state a sequence, however long")

    def test_run_out_and_come_back(self, engine: Engine) -> None:
        fill(engine, 0, 200)
        fill(engine, 1, 56)
        with pytest.raises(ContextFullError):
            engine.decode([(0, 200, 1, True)])
        assert engine.logits(0) is None
        engine.drop(1)
        engine.decode([(0, 200, 1, True)])
        output(engine, 0)

    def test_shared_cells_count_once(self, engine: Engine) -> None:
        fill(engine, 0, 200)
        for seq in range(1, 8):
            assert engine.fork(0, seq, 200)
        engine.decode([(seq, 200, seq, True) for seq in range(8)])
        for seq in range(7):
            engine.drop(seq)
        fill(engine, 0, 55)  # sequence 7 still holds 201
        with pytest.raises(ContextFullError):
            engine.decode([(0, 55, 1, True)])


class TestSaved:
    def test_kv_moves(self, case: Case, engine: Engine) -> None:
        tokens = engine.tokenize(TEXT)
        feed(engine, 0, tokens)
        state = engine.save(0)
        other = case.open()
        other.load(3, state)
        assert case.same(feed(other, 3, [1], start=len(tokens)), fresh(engine, [*tokens, 1]))

    def test_an_empty_sequence_is_saved_too(self, engine: Engine) -> None:
        engine.load(1, engine.save(0))
        engine.decode([(1, 0, 1, True)])

    def test_only_whole_kv_into_empty_sequences(self, engine: Engine) -> None:
        feed(engine, 0, [1, 2, 3])
        state = engine.save(0)
        with pytest.raises(UsageError, match="empty sequence"):
            engine.load(0, state)
        with pytest.raises(BundleError):
            engine.load(1, state[:-1])
        with pytest.raises(UsageError):
            engine.save(8)
        engine.decode([(1, 0, 1, True)])

    def test_kv_that_does_not_fit_is_refused(self, case: Case, engine: Engine) -> None:
        if case.name == "recurrent":
            pytest.skip("a recurrent model keeps one state a sequence, however long")
        fill(engine, 0, 150)
        state = engine.save(0)
        with pytest.raises(ContextFullError):
            engine.load(1, state)
        engine.drop(0)
        engine.load(1, state)
        engine.decode([(1, 150, 1, True)])


class Twin:
    """What an engine should hold: the tokens of each sequence."""

    def __init__(self, engine: Engine, rng: random.Random, *, slides: bool) -> None:
        self.engine = engine
        self.rng = rng
        self.slides = slides
        self.words = engine.tokenize(STORY)
        self.cuts = Capability.TRIM in Capability(engine.info["caps"])
        self.held: list[list[int]] = [[] for _ in range(4)]

    def step(self) -> None:
        rng = self.rng
        seq = rng.randrange(4)
        length = rng.randint(0, len(self.held[seq]))
        act = rng.choice([self._append, self._append, self._fork, self._trim, self._drop])
        act(seq, length)

    def _append(self, seq: int, length: int) -> None:
        """One step: some sequences get a token, some get several."""
        rows = []
        for each in {seq, *self.rng.sample(range(4), self.rng.randrange(4))}:
            begin = self.rng.randrange(len(self.words) - 6)
            tokens = self.words[begin : begin + self.rng.choice([1, 1, 1, 3, 6])]
            start = len(self.held[each])
            rows += [(each, start + i, token, False) for i, token in enumerate(tokens)]
            self.held[each] += tokens
        self.engine.decode(rows)

    def _fork(self, seq: int, length: int) -> None:
        target = self.rng.randrange(4)
        there = self.cuts or length in (0, len(self.held[seq]))
        possible = target != seq and not self.held[target] and there
        if self._done(self.engine.fork(seq, target, length), possible):
            self.held[target] = self.held[seq][:length]

    def _trim(self, seq: int, length: int) -> None:
        possible = self.cuts or length in (0, len(self.held[seq]))
        if self._done(self.engine.trim(seq, length), possible):
            del self.held[seq][length:]

    def _done(self, done: bool, possible: bool) -> bool:
        """A sliding window may have let go of what a cut would need: that is refused."""
        assert done == possible or (self.slides and not done)
        return done

    def _drop(self, seq: int, length: int) -> None:
        self.engine.drop(seq)
        self.held[seq] = []


def test_any_order_of_operations_equals_recomputing(case: Case) -> None:
    engine = case.open()
    (last,) = engine.tokenize(",")
    # What is tested is the engine's bookkeeping, which tiny models run for nothing and compare a
    # hundred times closer; a real one runs the same code, so a part of the walks will do.
    for seed in range(20 if case.name.endswith("smollm2") else 200):
        twin = Twin(engine, random.Random(seed), slides=case.name == "sliding")
        for _ in range(15):
            twin.step()
        for seq, tokens in enumerate(twin.held):
            if not tokens:
                continue
            got = feed(engine, seq, [last], start=len(tokens))
            assert case.same(got, fresh(engine, [*tokens, last])), f"seed {seed}, sequence {seq}"
        for seq in range(4):
            engine.drop(seq)
