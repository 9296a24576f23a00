"""Each checker with right, wrong and odd answers; and with the published sets that use it."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from edgereason.bench import checkers
from edgereason.bench.harness.items import asked, checker, is_right, rows
from edgereason.bench.tasks.base import Item
from edgereason.errors import UsageError
from edgereason.registry import names
from support.places import SHARED

ODD = (
    "",
    " ",
    "\n\n",
    "I do not know.",
    "```",
    "<<>>",
    "[[[[",
    "\\boxed{",
    "0" * 5000,
    "\x00",
    "(" * 400,
)


def item(kind: str, answer: str, *choices: str, question: str = "?", **extra: Any) -> Item:
    return Item("i", question, answer, kind, choices, extra)


SQL = "CREATE TABLE t (a INTEGER, b TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (2, 'z');"
POINTS = [[x / 4, (x / 4) ** 2 + 1] for x in range(-8, 9)]
BAND = {"lower": 79.2, "upper": 87.5}
SCHEMA = {
    "type": "object", "required": ["n"], "additionalProperties": False,
    "properties": {"n": {"type": "integer"}, "d": {"type": "string", "format": "date"}},
}  # fmt: skip
EDGES = {"vertices": 3, "colours": 2, "edges": [[0, 1], [1, 2]]}
CODE = {
    "entry_point": "double",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(0) == 0\n",
}
HEAD = 'from typing import List\n\n\ndef double(x: int) -> int:\n    """Twice x."""'
WHOLE = "def double(x):\n    return 2 * x"


def rules(*pairs: Any) -> Item:
    return item("instructions", json.dumps(pairs))


CASES: Mapping[str, tuple[Item, tuple[str, ...], tuple[str, ...]]] = {
    "number": (
        item("number", "18"),
        ("18", "$18.00", "So 9 + 9 = 18.", "\\boxed{18}", "Final answer: 18 dollars"),
        ("81", "-18", "18 or 19", "eighteen"),
    ),
    "number between": (
        item("number", "83.3", **BAND),
        ("83", "The MAP is 79.2 mmHg", "87.5"),
        ("79.1", "88", "-83", "between"),
    ),
    "choice": (
        item("choice", "Days are shorter.", "Years are longer.", "Days are shorter."),
        ("B", "(B)", "b.", "The answer is B", "Days are shorter.", "B) Days are shorter.",
         "Final answer: B", "I think that days are shorter"),
        ("A", "C", "A) or B)", "Years are longer.", "shorter"),
    ),
    "choice of words in each other": (
        item("choice", "True, False", "True, True", "False", "True, False"),
        ("C", "True, False"),
        ("True", "A", "B", "False", "True, True"),
    ),
    "yes_no": (
        item("yes_no", "no"),
        ("No", "no.", "The answer is no.", "False", "No, because it is cold."),
        ("yes", "Yes, but no", "maybe", "nothing", "not"),
    ),
    "short": (
        item("short", "7B"),
        ("7B", " 7B\n", "so:\n7B", "The answer is 7B.", '"7B"'),
        ("7b", "7 B", "B7", "7B5"),
    ),
    "short of several words": (item("short", "] )"), ("] )", "x\n]  )"), (")", "] ]")),
    "latex": (
        item("latex", "\\frac{14}{3}"),
        ("\\boxed{\\frac{14}{3}}", "14/3", "$\\frac{28}{6}$", "\\dfrac{14}{3}"),
        ("\\frac{3}{14}", "14", "4.6"),
    ),
    "code": (
        item("code", "    return x + x", question=HEAD, **CODE),
        ("    return x + x", f"```python\n{WHOLE}\n```", f"Here:\n```\n{WHOLE}\n```\nDone.", WHOLE,
         "return x + x", "```python\nimport math\n" + WHOLE + "\n```"),
        ("    return x", "    import os\n    return os.getpid()",
         "    return open('/etc/passwd')", "    raise SystemExit", "    return 'passed'"),
    ),
    "schema": (
        item("schema", '{"n": 1}', schema=SCHEMA),
        ('{"n": 3}', '```json\n{"n": 3, "d": "2020-02-29"}\n```'),
        ('{"n": "3"}', "{}", '{"n": 1, "m": 2}', '{"n": 1, "d": "2020-02-30"}', '{"n": 1', "n = 1"),
    ),
    "sql": (
        item("sql", "SELECT a FROM t", database=SQL, ordered=False),
        ("SELECT a FROM t ORDER BY b DESC;", "```sql\nselect t.a from t\n```",
         "Use this: SELECT a FROM t"),
        ("SELECT b FROM t", "SELECT DISTINCT a FROM t", "DROP TABLE t", "SELECT", "SELECT x FROM t",
         "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r"),
    ),
    "sql in order": (
        item("sql", "SELECT b FROM t ORDER BY b", database=SQL, ordered=True),
        ("SELECT b FROM t ORDER BY b ASC",),
        ("SELECT b FROM t ORDER BY b DESC", "DELETE FROM t"),
    ),
    "formula": (
        item("formula", "x^2 + 1", variables=["x"], test_points=POINTS, r2_at_least=0.99),
        ("x^2 + 1", "y = x*x + 1", "The formula is y = 1 + x**2.", "$x^2 + 1.001$"),
        ("x^2", "2", "x +", "y", "exp(1000*x)", "9**9**9**9", "__import__('os')", "ln(x)"),
    ),
    "countdown": (
        item("countdown", "47 - (22 - 16)", numbers=[22, 16, 47], target=41),
        ("47 - (22 - 16)", "47-22+16 = 41", "We get 41 so\nFinal answer: 47 - 22 + 16"),
        ("41", "47 - 6", "47 - 22 + 16 + 0", "22 + 16 + 3", "47 - (22 - 16) + 1", "1/0"),
    ),
    "colouring": (
        item("colouring", "[0, 1, 0]", **EDGES),
        ("[0, 1, 0]", "First [0, 0, 0], no: [1,0,1]"),
        ("[0, 0, 1]", "[0, 1]", "[0, 1, 2]", "[0, 1, 0, 1]", "0, 1, 0"),
    ),
    "problem": (
        item("problem", "55", question="What is 47+8?", task="chain"),
        ("55", "47+8=55"),
        ("47", "What?"),
    ),
    "instructions: words": (
        rules(["keywords:existence", {"keywords": ["ship"]}],
              ["keywords:forbidden_words", {"forbidden_words": ["sea"]}],
              ["length_constraints:number_words", {"relation": "less than", "num_words": 6}],
              ["punctuation:no_comma", {}]),
        ("A Ship sails on.", "ship seat"),
        ("A ship at sea.", "A boat.", "a ship that is much too long", "ship, ahoy"),
    ),
    "instructions: parts": (
        rules(["length_constraints:number_paragraphs", {"num_paragraphs": 2}],
              ["detectable_format:title", {}],
              ["detectable_content:postscript", {"postscript_marker": "P.S."}]),
        ("<<A>> one\n***\ntwo\nP.S. three", "<<A>>\n*** b p. s. c"),
        ("one\n***\ntwo P.S. x", "<<A>> one P.S. x", "<<A>>***b***c P.S. d", "<<A>>***b"),
    ),
    "instructions: lists": (
        rules(["detectable_format:number_bullet_lists", {"num_bullets": 2}],
              ["detectable_format:number_highlighted_sections", {"num_highlights": 1}]),
        ("* a *b*\n* c", "- *a*\n- b"),
        ("- a\n- b", "- *a*", "- *a*\n- b\n- c"),
    ),
    "instructions: ends": (
        rules(["startend:end_checker", {"end_phrase": "The end."}], ["startend:quotation", {}]),
        ('"So. The end."', '"THE END."'),
        ("So. The end.", '"The end'),
    ),
    "instructions: JSON": (
        rules(["detectable_format:json_format", {}]),
        ('{"a": 1}', '```json\n[1]\n```', "5"),
        ("a: 1", "{"),
    ),
    "instructions: two": (
        rules(["combination:two_responses", {}]),
        ("a ****** b", "******a******b"),
        ("a", "a ****** a", "a****** ******b", "a******b******c"),
    ),
    "instructions: sentences": (
        rules(["length_constraints:number_sentences",
               {"relation": "less than", "num_sentences": 3}],
              ["keywords:letter_frequency",
               {"letter": "z", "let_frequency": 2, "let_relation": "at least"}]),
        ("Zzz. Dr. Zoo is here.", "zz"),
        ("A. Bzz. C. D zz.", "One z."),
    ),
    "instructions: language": (
        rules(["language:response_language", {"language": "de"}]),
        ("Das ist ein schöner Tag, und wir gehen zusammen in den Wald.",),
        ("This is a beautiful day and we are going to the forest together.", "123"),
    ),
    "instructions: case": (
        rules(["change_case:english_capital", {}]),
        ("THIS IS WHAT WE ALL WANTED TO SAY TO THEM YESTERDAY.",),
        ("This is what we all wanted to say to them yesterday.",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_right_answers_are_right_and_wrong_ones_wrong(name: str) -> None:
    question, right, wrong = CASES[name]
    _needs(question.checker)
    assert [text for text in right if not is_right(question, text)] == []
    assert [text for text in wrong if is_right(question, text)] == []


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("code")])
def test_odd_answers_are_wrong_and_raise_nothing(name: str) -> None:
    question, _, _ = CASES[name]
    _needs(question.checker)
    assert [text for text in ODD if is_right(question, text)] == []


def test_a_program_that_never_ends_is_wrong_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker("code"), "_SECONDS", 0.5)
    begin = time.monotonic()
    assert not is_right(CASES["code"][0], "    while True: pass")
    assert time.monotonic() - begin < 8


def test_every_checker_has_cases() -> None:
    covered = {question.checker.replace("_", "-") for question, _, _ in CASES.values()}
    assert covered | {"reasoning-gym"} == set(names(checkers))


def test_a_question_says_what_may_be_answered() -> None:
    assert asked(CASES["choice"][0]) == (
        "?\n\nA) Years are longer.\nB) Days are shorter.\n\nAnswer with the letter."
    )
    assert asked(item("yes_no", "no")) == "?\n\nAnswer yes or no."
    assert asked(item("yes_no", "no", question="True or false?")) == "True or false?"
    assert "```python\nfrom typing" in asked(CASES["code"][0])
    assert asked(item("number", "1")) == "?"


def test_a_rule_that_there_is_not_is_a_mistake_of_the_task() -> None:
    with pytest.raises(UsageError, match="no rule called 'a:b'"):
        is_right(rules(["a:b", {}]), "text")


def test_a_query_of_the_task_that_fails_is_a_mistake_of_the_task() -> None:
    with pytest.raises(UsageError, match="no query of its database"):
        is_right(item("sql", "SELECT nothing", database=SQL), "SELECT 1")


def _needs(name: str) -> None:
    """Skips where a package of the extra `bench` is missing."""
    ready = getattr(checker(name), "ready", None)
    if ready is not None:
        try:
            ready()
        except Exception as error:
            pytest.skip(str(error))


SETS = sorted((SHARED / "data" / "bench").glob("*.jsonl"))
# Many ways to be right, none of which is `answer`: a text has to be written for these.
FREE = {"instructions"}


@pytest.mark.slow
@pytest.mark.skipif(not SETS, reason="the published sets are not here")
@pytest.mark.parametrize("path", SETS, ids=lambda path: path.stem)
def test_published_answers_pass_their_own_checker(path: Any) -> None:
    """And the answer of the question before does not, but for the few that are equal."""
    found = list(rows(path))
    for name in {each.checker for each in found}:
        _needs(name)
    found = [each for each in found if each.checker not in FREE]
    if not found:
        return
    if path.stem == "humaneval":  # each starts a process
        found = found[::8]
    assert [each.id for each in found if not is_right(each, each.answer)] == []
    crossed = [
        is_right(each, other.answer)
        for each, other in itertools.pairwise(found)
        if each.answer != other.answer
    ]
    assert sum(crossed) <= 0.3 * len(crossed)
