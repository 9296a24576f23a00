"""How the tasks in bench/tasks read what their authors published, on rows made up in that form."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edgereason.bench.harness.items import is_right
from edgereason.bench.tasks.base import Item
from edgereason.registry import load

TASKS = "edgereason.bench.tasks"


def lines(*rows: Any) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def table(*rows: dict[str, Any]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def read(folder: Path, task: str, *files: bytes) -> list[Item]:
    module = load(TASKS, task)
    paths = []
    for number, content in enumerate(files):
        path = folder / str(number)
        path.write_bytes(content)
        paths.append(path)
    return list(module.items(paths))


MMLU = {"question": "Up?", "choices": "['a', 'b']", "answer": 1, "error_type": "Ok", "source": ""}
MEDCALC = {
    "Row Number": 1, "Calculator ID": 4, "Calculator Name": "C", "Output Type": "decimal",
    "Patient Note": "Ill. ", "Question": "How?", "Ground Truth Answer": "-2.0",
    "Lower Limit": "-1.9", "Upper Limit": "-2.1",
}  # fmt: skip
MIST = {
    "Question": "Half?", "Multiple Choices": ["A. 2", "B. $0.5$"], "Correct Answer": "B",
    "Exact Answer": "$0.5$", "Evaluation Method": "Numerical Match",
}  # fmt: skip

SVAMP = {"ID": "chal-1", "Body": "A", "Question": "Q?", "Answer": 16.0}
MATH = {"problem": "P", "subject": "Algebra", "level": 2}
CODE = {
    "task_id": "HumanEval/7", "prompt": "def f():\n", "test": "t", "entry_point": "f",
    "canonical_solution": "    pass\n",
}  # fmt: skip
FOLIO = (
    "Premises:\nP.\nR.\n\nConclusion: C.\n\n"
    "Is the conclusion true, false or uncertain given the premises?"
)


@pytest.mark.parametrize(
    ("task", "content", "expected"),
    [
        ("gsm8k", lines({"question": "Q", "answer": "So.\n#### 1,200"}),
         ("gsm8k-0", "Q", "1,200", "number")),
        ("svamp", json.dumps([SVAMP]).encode(),
         ("svamp-chal-1", "A, Q?", "16", "number")),
        ("folio", lines({"premises": ["P. ", "R."], "conclusion": "C.", "label": "True"}),
         ("folio-0", FOLIO, "True", "choice")),
        ("mathmist", lines(MIST), ("mathmist-0", "Half?", "0.5", "choice")),
        ("math500", lines({**MATH, "answer": "\\frac{1}{2}", "unique_id": "test/algebra/7.json"}),
         ("math500-test-algebra-7", "P", "\\frac{1}{2}", "latex")),
        ("math500", lines({**MATH, "answer": "12", "unique_id": "test/algebra/8.json"}),
         ("math500-test-algebra-8", "P", "12", "number")),
        ("ifeval", lines({"key": 5, "prompt": "P", "instruction_id_list": ["punctuation:no_comma"],
                          "kwargs": [{"x": None}]}),
         ("ifeval-5", "P", '[["punctuation:no_comma", {}]]', "instructions")),
        ("counterbench", lines({"given_info": "G.", "question": "Q?", "answer": "yes", "type": "t",
                                "question_id": 3}),
         ("counterbench-3", "G. Q?", "yes", "yes_no")),
        ("arc_challenge", lines({"id": "x", "question": "Q?", "answerKey": "2",
                                 "choices": {"text": ["a", "b"], "label": ["1", "2"]}}),
         ("arc_challenge-x", "Q?", "b", "choice")),
        ("medcalc", table(MEDCALC), ("medcalc-4", "Patient note:\nIll.\n\nHow?", "-2.0", "number")),
        ("humaneval", gzip.compress(lines(CODE)),
         ("humaneval-7", "def f():", "    pass\n", "code")),
    ],
)  # fmt: skip
def test_a_row_becomes_an_item(
    tmp_path: Path, task: str, content: bytes, expected: Sequence[str]
) -> None:
    (item,) = read(tmp_path, task, content)
    assert (item.id, item.question, item.answer, item.checker) == expected
    if item.checker == "choice":
        assert item.answer in item.choices


def test_rows_that_cannot_be_trusted_are_left_out(tmp_path: Path) -> None:
    other = {**MIST, "Exact Answer": "$0.6$"}
    judged = {**MIST, "Evaluation Method": "LLM as a Judge"}
    same = {**MIST, "Multiple Choices": ["A. 0.5", "B. 0.5"]}
    assert read(tmp_path, "mathmist", lines(other, judged, same)) == []
    wrong = {**MMLU, "error_type": "Wrong Groundtruth"}
    twice = {**MMLU, "choices": "['a', 'a']"}
    files = [table(wrong, twice, MMLU), *[table(MMLU)] * 56]
    found = read(tmp_path, "mmlu_redux", *files)
    assert len(found) == 57
    assert (found[0].id, found[0].answer) == ("mmlu_redux-abstract_algebra-2", "b")


def test_limits_of_a_negative_number_are_put_in_order(tmp_path: Path) -> None:
    (item,) = read(tmp_path, "medcalc", table(MEDCALC))
    assert is_right(item, "-2.05")
    assert not is_right(item, "2.05")


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        ("not True is", "False", ("not True is", "False", "choice", ("True", "False"))),
        ("Is it?\nOptions:\n- Yes\n- No", "No", ("Is it?", "no", "yes_no", ())),
        ("Which?\nOptions:\n(A) x\n(B) y", "(B)", ("Which?", "y", "choice", ("x", "y"))),
        ("So?\nOptions:\n- valid \n- invalid", "invalid",
         ("So?", "invalid", "choice", ("valid", "invalid"))),
        ("2 + 3 =", "5", ("2 + 3 =", "5", "number", ())),
        ("Sort: b a", "a b", ("Sort: b a", "a b", "short", ())),
    ],
)  # fmt: skip
def test_a_row_of_big_bench_hard(
    tmp_path: Path, text: str, target: str, expected: tuple[Any, ...]
) -> None:
    examples = json.dumps({"examples": [{"input": text, "target": target}]}).encode()
    none = json.dumps({"examples": []}).encode()
    (item,) = read(tmp_path, "bbh", examples, *[none] * 26)
    assert (item.question, item.answer, item.checker, item.choices) == expected
    assert is_right(item, item.answer)


def test_an_option_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    rows = [{"input": "Which?\nOptions:\n(A) x", "target": "(Z)"}]
    none = json.dumps({"examples": []}).encode()
    assert read(tmp_path, "bbh", json.dumps({"examples": rows}).encode(), *[none] * 26) == []


@pytest.mark.parametrize("task", ["countdown", "graph_colouring"])
def test_what_is_made_here_is_right_and_the_same_each_time(tmp_path: Path, task: str) -> None:
    found = read(tmp_path, task)
    assert found == read(tmp_path, task)
    assert len({item.id for item in found}) == len(found) >= 100
    assert all(is_right(item, item.answer) for item in found)
    assert not any(is_right(item, "7") for item in found)
