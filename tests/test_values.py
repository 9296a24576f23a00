r"""Answers as values: many ways of writing one answer, and answers found in longer texts."""

from __future__ import annotations

import re
import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgereason.values import Kind, extract_answer, normalize

SAME = [
    group.split(" | ")
    for group in (
        r"18 | 18. | 18.0 | $18.00 | $ 18 | 18 m^2 | \$18 | **18** | \boxed{18} | #### 18",
        r"18 | 18 dollars | 18 dollars per day | x = 18 | $x = 18$ | `18` | '18' | +18 | 018",
        r"18 | \text{18} | 18% | 18 \% | 18\u00b0 | 18^\circ | 18 km/h | \(18\) | $\boxed{18}$",
        r"1234 | 1,234 | $1,234.00 | 1,234.0 USD | 1.234e3 | 1.234 * 10^3 | 12.34E2",
        r"1234 | 1.234 \u00d7 10^3 | 1.234 \times 10^{3} | 1\u202f234",
        r"-3 | \u22123 | - 3 | -$3 | $-3 | -3.00 | \boxed{-3}",
        r"1/2 | 0.5 | .5 | \frac{1}{2} | \dfrac{1}{2} | $\frac{2}{4}$ | 2/4 | 5e-1",
        r"3/2 | 1.5 | 1 1/2 | 1 1/2 cups | 150e-2",
        r"-1.5 | -1 1/2 | -3/2",
        r"B | (B) | B. | b | b) | (b) | (B) Paris | B. Paris | B: Paris | Option B | \text{B}",
        r"yes | Yes. | YES | true | Yes, because it is. | **Yes**",
        r"no | No! | false",
        r"[1, 2] | (1,2) | 1, 2 | 1 and 2 | {1, 2} | [1.0, 4/2]",
        r"1, 2 and 3 | 1, 2, and 3 | [1,2,3]",
        r'hello world | Hello  World | hello world. | "Hello world"',
        " | . | !",
    )
]
SAME = [[re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), t) for t in g] for g in SAME]


@pytest.mark.parametrize("group", SAME, ids=lambda group: group[0] or "empty")
def test_ways_of_writing_one_answer(group: list[str]) -> None:
    values = {text: normalize(text) for text in group}
    assert set(values.values()) == {values[group[0]]}, values


def test_equal_json_is_one_value() -> None:
    same = ['{"a": 1, "b": [2.5]}', ' {"b":[2.5],"a":1.0}', '{"a": 1, "b": [25e-1]}']
    assert len({normalize(text) for text in same}) == 1
    assert normalize('{"a": 1}') != normalize('{"a": "1"}')
    said = '{"text": "the answer is 9", "box": "\\\\boxed{3}"}'
    assert extract_answer(said) == said


def test_different_answers_differ() -> None:
    first = {group[0] for group in SAME}
    assert len({normalize(text) for text in first}) == len(first)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("12 and 13", Kind.LIST),
        ('{"a": 1}', Kind.OBJECT),
        ('{"a": 1', Kind.TEXT),
        ("1,23", Kind.TEXT),  # neither thousands nor a list
        ("3:45", Kind.TEXT),
        ("1/0", Kind.TEXT),
        ("--3", Kind.TEXT),
        ("(x+1)", Kind.TEXT),
        ("Mr. Smith", Kind.TEXT),
        ("nothing", Kind.TEXT),
        ("1e999999999", Kind.TEXT),
        ("K", Kind.TEXT),
        ("[]", Kind.TEXT),
        ("18 apples are left on the old table", Kind.TEXT),
    ],
)
def test_kinds(text: str, kind: Kind) -> None:
    assert normalize(text).kind is kind


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("9 + 9 is 18.\nFinal answer: 18", "18"),
        ("**Final answer:** 18 apples. Because 9 and 9 are 18.", "18 apples"),
        ("Final Answer: The answer is 9", "9"),
        ("Final answer:\n\n 42\nfoo", "42"),
        ("The final answer is $\\boxed{7}$.", "7"),
        ("\\boxed{3} no, wait: \\boxed{\\frac{1}{2}} it is", "\\frac{1}{2}"),
        ("\\boxed{5} and \\boxed{", "5"),
        ("\\boxed{5} and \\boxed{}", "5"),
        ("\\boxed{a \\boxed{b}}", "b"),
        ("} \\boxed{ {1}/{2} } {", "{1}/{2}"),
        ("Final answer: 3. No.\nFinal answer: 4.", "4"),
        ("She has 3.\n#### 12", "12"),
        ("the final answer is 15 * 8 = 120 pints\n#### 120", "120"),
        ("#### Step 1\n9 + 9\n#### Final answer\n18", "18"),
        ("So the answer is 5.\nThen she left.", "5"),
        ("x. The answer: **7**", "7"),
        ("Final answer: (B) Paris", "(B) Paris"),
        ("Final answer: the capital. Of France", "the capital. Of France"),
        ("18 dollars.\n\nBecause 9 + 9 is 18, not 20.", "18 dollars"),
        ("Yes, it does.\nMore text 3", "Yes, it does."),
        ("I have 3 and 4", "I have 3 and 4"),
        ("Final answer:", "Final answer:"),
        ("  plain  ", "plain"),
    ],
)
def test_where_the_answer_stands(text: str, answer: str) -> None:
    assert extract_answer(text) == answer


def test_the_last_number_only_when_numbers_are_asked_for() -> None:
    text = "I have 3 of 4, which makes $1,200.50 in all"
    assert extract_answer(text) == text
    assert extract_answer(text, numeric=True) == "$1,200.50"
    assert extract_answer("none at all", numeric=True) == "none at all"


@given(st.integers(-(10**12), 10**12))
def test_integers_in_any_dress(number: int) -> None:
    value = normalize(str(number))
    assert value.key == number
    for dress in (
        f"{number:,}",
        f"${number}",
        f"\\boxed{{{number}}}",
        f"{number}.0",
        f"{number} km",
    ):
        assert normalize(dress) == value
    assert normalize(extract_answer(f"Let us see.\nFinal answer: {number:,}.")) == value


@given(st.fractions(max_denominator=10**6))
def test_fractions_come_back(number: Fraction) -> None:
    assert normalize(f"{number.numerator}/{number.denominator}").key == number
    if number >= 0:
        assert normalize(f"\\frac{{{number.numerator}}}{{{number.denominator}}}").key == number


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=4
    )
)
def test_decimals_are_exact(number: object) -> None:
    assert normalize(str(number)).key == Fraction(str(number))


@given(st.text(max_size=60), st.text(max_size=60))
def test_equality_is_symmetric_and_hashes_agree(one: str, other: str) -> None:
    left, right = normalize(one), normalize(other)
    assert (left == right) == (right == left)
    assert normalize(one) == left
    if left == right:
        assert hash(left) == hash(right)


@given(st.text(max_size=40))
def test_dress_does_not_change_a_value(text: str) -> None:
    value = normalize(text)
    assert normalize(f"  {text}\n") == value
    if value.kind is Kind.TEXT:
        assert normalize(text.strip().upper().lower()).kind in Kind


@given(st.text(alphabet="0123456789.,$-+/ eE%()[]{}\\boxedfracABy^*x=#:\n", max_size=80))
def test_odd_texts_give_some_value(text: str) -> None:
    assert normalize(extract_answer(text, numeric=True)) == normalize(
        extract_answer(text, numeric=True)
    )


@pytest.mark.parametrize(
    "text", ["9" * 10**5, "(" * 10**5, "\\boxed{" * 20000, "1 " * 50000, "- " * 50000, "a " * 50000]
)
def test_long_texts_take_no_time(text: str) -> None:
    start = time.monotonic()
    normalize(extract_answer(text, numeric=True))
    assert time.monotonic() - start < 2
