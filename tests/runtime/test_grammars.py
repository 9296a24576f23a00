"""Grammars of an open model: what may come next against a slow twin, answers against jsonschema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgereason import Reasoner, StopReason, _core
from edgereason.errors import UnsupportedError, UsageError
from edgereason.grammars import Grammar
from edgereason.models.bundle import open_bundle
from edgereason.records import Sampling
from edgereason.runtime import grammars
from edgereason.runtime.grammars import Grammars
from reference import grammar as twin
from support.places import SCRIPTED

pytest.importorskip("llguidance")
jsonschema = pytest.importorskip("jsonschema")

NO_LIMIT = 2**31 - 1
WORDS = ['{"', '"}', '": "', '", "', '": ', "name", "ye", "yes", "no", " the", "null", "10", "}"]
QUESTION = "What is 17 * 3?"
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
slow_examples = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def engine() -> _core.ScriptedEngine:
    return _core.ScriptedEngine(words=WORDS)


@pytest.fixture(scope="module")
def compiler(engine: _core.Engine) -> Grammars:
    return Grammars(engine)


@pytest.fixture(scope="module")
def reasoner() -> Iterator[Reasoner]:
    with Reasoner.open(SCRIPTED) as opened:
        yield opened


def tokens_of(mask: bytes, num: int) -> set[int]:
    return {token for token in range(num) if mask[token // 8] >> token % 8 & 1}


# --- masks against the twin -----------------------------------------------------------------------

scalars = st.one_of(
    st.booleans(), st.none(), st.integers(-20, 120), st.sampled_from(["yes", "no", "é", 'a"b', ""])
)
values = st.dictionaries(
    st.sampled_from(["name", "a", "ok?", "ü"]),
    st.lists(scalars, min_size=1, max_size=3, unique_by=json.dumps),
    min_size=1,
    max_size=3,
)


@slow_examples
@given(values=values, data=st.data())
def test_masks_are_those_of_the_twin(
    engine: _core.Engine, compiler: Grammars, values: dict[str, list[Any]], data: st.DataObject
) -> None:
    optional = data.draw(st.lists(st.sampled_from(sorted(values)), unique=True))
    texts = twin.texts_of(values, optional)
    guide = _core.Guide(compiler.get(Grammar.json(twin.schema_of(values, optional))).core, NO_LIMIT)
    num = engine.info["num_vocab"]
    pieces = [b"" if engine.is_control(t) else engine.piece(t) for t in range(num)]
    ends = [engine.ends(token) for token in range(num)]
    so_far = b""
    while not guide.must_end:
        assert guide.prepare()
        mask = tokens_of(guide.mask, num)
        forced = guide.forced()
        allowed = twin.allowed(texts, so_far, pieces, ends)
        # Of a text that must come only the tokens of the model's own tokenizer are allowed.
        assert mask == ({forced[0]} & allowed if forced else allowed)
        token = data.draw(st.sampled_from(sorted(t for t in mask if not ends[t])))
        assert guide.accept(token, NO_LIMIT)
        so_far += pieces[token]
        ending = engine.detokenize(guide.ending)
        assert (so_far + ending).decode() in texts
    assert so_far.decode() in texts
    assert guide.ending == []


def test_what_must_come_is_forced(engine: _core.Engine, compiler: Grammars) -> None:
    guide = _core.Guide(compiler.get(Grammar.json(PERSON)).core, NO_LIMIT)
    forced = guide.forced()
    # The last tokens are left to the model where they may be one with what follows.
    assert b'{"name": "'.startswith(engine.detokenize(forced))
    assert len(forced) > 1


@pytest.mark.parametrize(
    ("grammar", "shortest"),
    [
        (Grammar.json(PERSON), '{"name": "", "age": 0}'),
        (Grammar.json(), "{}"),
        (
            Grammar.json({"type": "array", "items": PERSON, "minItems": 1}),
            '[{"name": "", "age": 0}]',
        ),
        (Grammar.json({"type": "integer", "minimum": 100}), "100"),
        (Grammar.json({"type": "string", "minLength": 3}), '"abc"'),
        (Grammar.json({"type": "string", "pattern": "^[a-z]+@[a-z]+[.]com$"}), '"@'),
        (Grammar.json({"enum": ["yes", "no"]}), '"'),
        (Grammar.json({"type": "string", "format": "date"}), '"'),
        (
            Grammar.json(
                {
                    "$defs": {
                        "t": {
                            "anyOf": [
                                {"type": "array", "items": {"$ref": "#/$defs/t"}},
                                {"type": "null"},
                            ]
                        }
                    },
                    "$ref": "#/$defs/t",
                }
            ),
            "null",
        ),
        (Grammar.choice("left", "right"), ""),
        (Grammar.regex("[0-9]{3}-[0-9]{2}"), ""),
        (Grammar.gbnf('root ::= "yes" | "no" [0-9]+'), ""),
        (Grammar.lark('start: "(" start ")" | /[0-9]/'), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else value.form.name,
)
def test_the_shortest_text_is_allowed(
    engine: _core.Engine, compiler: Grammars, grammar: Grammar, shortest: str
) -> None:
    found = compiler.get(grammar)
    assert found.shortest.startswith(shortest) or shortest == '"@'
    assert found.shortest
    guide = _core.Guide(found.core, NO_LIMIT)
    for token in engine.tokenize(found.shortest):
        assert guide.prepare()
        assert token in tokens_of(guide.mask, engine.info["num_vocab"])
        assert guide.accept(token, NO_LIMIT)
    assert guide.ending == []


# --- what cannot be had ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        (Grammar.json({"not": {"type": "string"}}), "the JSON schema is not taken: .*not"),
        (Grammar.json({"type": "string", "format": "zip"}), "the JSON schema is not taken: .*zip"),
        (Grammar.json({"type": "strnig"}), "the JSON schema is not taken: .*strnig"),
        (Grammar.json({"$ref": "https://example.com/x"}), "the JSON schema is not taken"),
        (Grammar.regex("(?=a)b"), "the regular expression is not taken"),
        (Grammar.regex("["), "the regular expression is not taken"),
        (Grammar.lark("start: missing"), "the Lark grammar is not taken"),
        (Grammar.gbnf("root ::= missing"), "the GBNF grammar is not taken"),
    ],
)
def test_what_is_not_supported_is_named(compiler: Grammars, grammar: Grammar, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compiler.get(grammar)


def test_a_model_that_knows_no_json_writes_it() -> None:
    with Reasoner.open("nano") as nano:
        answer = nano.ask("What is 47@8?", grammar=Grammar.json(PERSON), answer_budget=40)
        jsonschema.validate(json.loads(answer.answer), PERSON)


def test_without_llguidance_the_way_out_is_named(
    engine: _core.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise grammars.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(grammars.metadata, "version", missing)
    with pytest.raises(UnsupportedError, match="need the package llguidance") as raised:
        Grammars(engine).get(Grammar.json())
    assert "pip install" in raised.value.hint
    monkeypatch.setattr(grammars.metadata, "version", lambda name: "2.0.1")
    with pytest.raises(UnsupportedError, match=r"found 2\.0\.1"):
        Grammars(engine).get(Grammar.json())


# --- answers --------------------------------------------------------------------------------------


def ask(reasoner: Reasoner, grammar: Grammar, budget: int, seed: int = 0, **more: Any) -> Any:
    return reasoner.ask(
        QUESTION,
        strategy=more.pop("strategy", "no-think"),
        grammar=grammar,
        answer_budget=budget,
        sampling=Sampling(temperature=1.0, seed=seed),
        **more,
    )


keys = st.sampled_from(["a", "name", "é", "x y", "n0"])
schemas: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.one_of(
        st.just({"type": "null"}),
        st.just({"type": "boolean"}),
        st.just({"type": "string"}),
        st.builds(
            lambda n: {"type": "string", "minLength": n, "maxLength": n + 3}, st.integers(0, 4)
        ),
        st.builds(
            lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more},
            st.integers(-50, 50),
            st.integers(0, 300),
        ),
        st.just({"type": "number"}),
        st.builds(lambda each: {"enum": each}, st.lists(scalars, min_size=1, unique_by=json.dumps)),
        st.just({"type": "string", "pattern": "^[a-f]{2,}-[0-9]+$"}),
        st.just({"type": "string", "format": "date"}),
    ),
    lambda inner: st.one_of(
        st.builds(
            lambda of, least: {"type": "array", "items": of, "minItems": least},
            inner,
            st.integers(0, 2),
        ),
        st.builds(
            lambda of, closed: {
                "type": "object",
                "properties": of,
                "required": sorted(of)[: len(of) // 2 + 1],
                "additionalProperties": not closed,
            },
            st.dictionaries(keys, inner, max_size=3),
            st.booleans(),
        ),
        st.builds(lambda one, two: {"anyOf": [one, two]}, inner, inner),
    ),
    max_leaves=6,
)


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(schema=schemas, budget=st.integers(1, 120), seed=st.integers(0, 99))
def test_answers_parse_and_where_there_is_room_validate(
    reasoner: Reasoner, schema: dict[str, Any], budget: int, seed: int
) -> None:
    """The scripted engine, off its script, draws at random: as bad a model as there can be."""
    grammar = Grammar.json(schema)
    compiled = reasoner.grammars.get(grammar)
    answer = ask(reasoner, grammar, budget, seed)
    value = json.loads(answer.answer)
    assert answer.usage.answer_tokens <= budget
    least = _core.Guide(compiled.core, NO_LIMIT).ending
    if budget >= len(least):
        jsonschema.validate(value, schema)
    assert answer.finish in (StopReason.STOP, StopReason.BUDGET)


def test_thoughts_are_free(reasoner: Reasoner) -> None:
    free = reasoner.ask(QUESTION, strategy="think")
    held = reasoner.ask(QUESTION, strategy="think", grammar=Grammar.regex(r"\s*[0-9]{1,3}"))
    assert held.reasoning == free.reasoning
    assert held.answer == free.answer == "51"


def test_a_choice_a_pattern_and_a_grammar(reasoner: Reasoner) -> None:
    assert ask(reasoner, Grammar.choice("left", "right"), 32).answer in ("left", "right")
    assert len(ask(reasoner, Grammar.regex("[0-9]{3}-[0-9]{2}"), 32).answer) == 6
    assert ask(reasoner, Grammar.gbnf('root ::= "yes" | "no"'), 32).answer in ("yes", "no")
    assert ask(reasoner, Grammar.lark('start: "yes" | "no"'), 32).answer in ("yes", "no")


def test_blanks_are_an_answer_where_the_grammar_has_no_other() -> None:
    engine = _core.ScriptedEngine(
        [("</think>\n\n", " ")], control=["<|im_start|>", "<think>", "</think>"]
    )
    with Reasoner(open_bundle(SCRIPTED), engine) as blank:
        answer = ask(blank, Grammar.regex("[ \n]{0,40}"), 20)
        assert answer.finish is StopReason.STOP
        assert answer.usage.answer_tokens < 3


def test_a_choice_is_whole_even_where_it_is_cut(reasoner: Reasoner) -> None:
    grammar = Grammar.choice("abcdef", "abcdefghijklmnop")
    for seed in range(5):
        assert ask(reasoner, grammar, 8, seed).answer == "abcdef"


def test_streamed_text_is_the_answer(reasoner: Reasoner) -> None:
    for budget in (3, 9, 40):
        handle = reasoner.stream(
            QUESTION, strategy="think", grammar=Grammar.json(PERSON), answer_budget=budget
        )
        text = "".join(chunk.text for chunk in handle if chunk.channel.value == "answer")
        assert text == handle.result().answer
        json.loads(text)


def test_a_deadline_in_the_middle_of_thoughts_still_gives_json() -> None:
    with Reasoner.open(SCRIPTED, sleep_ms=5) as slow:
        for deadline_ms in (1, 60, 120, 250):
            answer = slow.ask(
                QUESTION, strategy="think", grammar=Grammar.json(PERSON), deadline_ms=deadline_ms
            )
            jsonschema.validate(json.loads(answer.answer), PERSON)


def test_equal_json_is_one_vote(reasoner: Reasoner) -> None:
    answer = ask(
        reasoner,
        Grammar.json({"enum": [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}]}),
        64,
        strategy="vote",
        options={"samples": 8, "of": "no-think", "early_stop": False},
    )
    assert len(answer.candidates) == 1
    assert answer.candidates[0].votes == 8


def test_a_computed_answer_takes_no_grammar(reasoner: Reasoner) -> None:
    with pytest.raises(UnsupportedError, match="program takes no grammar"):
        reasoner.ask(QUESTION, strategy="program", grammar=Grammar.json())
