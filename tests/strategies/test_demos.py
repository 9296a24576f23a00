"""Examples of a file, clean and noisy: what is mended, what is kept, what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgereason.errors import UsageError
from edgereason.strategies.base import file_options
from support.scripted_models import DIRECT, model

ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"
CLEAN = {"question": "1 + 1?", "answer": "1 + 1 = 2\n#### 2", "clean": True}
NOISY = {"question": "2 + 2?", "answer": "Fish swim. 2 + 2 = 5\n#### 4"}
MENDED = "2 + 2 = 4\n#### 4"
ANEW = "at last ####\nand the result." + ASSISTANT + DIRECT
ASKED = ASSISTANT + "<think>\n"


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(*demos: dict[str, Any]) -> Path:
        path = tmp_path / "demos.jsonl"
        path.write_text("\n".join(map(json.dumps, demos)), encoding="utf-8")
        return path

    return write


def told(answer: str) -> tuple[tuple[str, str], ...]:
    """Rules of a model that answers 9 where this example stood right before the question."""
    shown = f"2 + 2?{ASSISTANT}{answer}<|im_end|>\n<|im_start|>user\nWhy?{ASKED}"
    return ((shown, "Nine.\n</think>"), ("Nine.\n</think>", "\n\n9"))


def test_a_noisy_example_is_mended_and_told(written: Any) -> None:
    with model((ANEW, MENDED), *told(MENDED)) as reasoner:
        options = {"file": written(CLEAN, NOISY), "rephrase": 4}
        handle = reasoner.submit("Why?", strategy="demos", options=options)
        answer = handle.result()
        assert answer.note == "2 of 2 examples told"
        assert answer.answer == "9"
        mended, samples = handle.chains[1:5], handle.chains[5:]
        assert {line[0].name for line in mended} == {"mended"}
        assert len(samples) == 5
        thoughts = [phase for line in handle.chains for phase in line]
        assert answer.usage.reasoning_tokens == sum(each.num_reasoning for each in thoughts)
        assert answer.usage.reasoning_tokens > sum(each.num_reasoning for each in samples[0])


def test_an_example_that_comes_to_another_answer_is_left_out(written: Any) -> None:
    with model((ANEW, "2 + 2 = 5\n#### 5"), *told("2 + 2 = 5\n#### 5")) as reasoner:
        options = {"file": written(CLEAN, NOISY), "rephrase": 2}
        answer = reasoner.ask("Why?", strategy="demos", options=options)
        assert (answer.answer, answer.note) == ("7", "1 of 2 examples told")


@pytest.mark.parametrize(
    ("noisy", "note", "answer"),
    [("drop", "1 of 2 examples told", "7"), ("tell", "2 of 2 examples told", "9")],
)
def test_noisy_examples_may_be_left_out_or_told(
    written: Any, noisy: str, note: str, answer: str
) -> None:
    with model((ANEW, MENDED), *told(NOISY["answer"])) as reasoner:
        options = {"file": written(CLEAN, NOISY), "noisy": noisy, "samples": 1}
        handle = reasoner.submit("Why?", strategy="demos", options=options)
        found = handle.result()
        assert (found.answer, found.note) == (answer, note)
        assert len(handle.chains) == 2


def test_clean_examples_are_not_touched(written: Any) -> None:
    """Whether they would be mended or not: token for token the same."""
    seen = []
    for noisy in ("mend", "drop", "tell"):
        with model(noise=True) as reasoner:
            options = {"file": written(CLEAN, CLEAN), "noisy": noisy, "samples": 2}
            handle = reasoner.submit("Why?", strategy="demos", options=options, think_budget=20)
            handle.result()
            seen.append([phase.tokens for line in handle.chains for phase in line])
    assert seen[0] == seen[1] == seen[2]


def test_samples_are_dealt_out_to_the_sets(written: Any) -> None:
    """Two versions are drawn; with as many sets as samples some see the one, some the other."""
    with model((ANEW, MENDED), noise=True) as reasoner:
        options = {"file": written(CLEAN, NOISY), "sets": 2, "samples": 5, "rephrase": 3}
        handle = reasoner.submit(
            "Why?", strategy="demos", options=options, think_budget=8, answer_budget=2
        )
        handle.result()
        prompts = [line[0].num_prompt for line in handle.chains[4:]]
        assert len(prompts) == 5
        assert prompts[0] == prompts[2] == prompts[4]
        assert prompts[1] == prompts[3]


@pytest.mark.parametrize("budget", [0, 3])
def test_what_is_written_anew_spends_the_thinking_budget(written: Any, budget: int) -> None:
    with model((ANEW, MENDED)) as reasoner:
        options = {"file": written(CLEAN, NOISY)}
        handle = reasoner.submit("Why?", strategy="demos", options=options, think_budget=budget)
        answer = handle.result()
        assert answer.budget.think_tokens.used <= budget
        assert answer.note == "1 of 2 examples told"
        names = [phase.name for line in handle.chains for phase in line]
        assert names.count("mended") == (5 if budget else 0)


def test_clients_of_a_server_cannot_name_the_file() -> None:
    assert file_options("demos") == ("file",)
    assert all(file_options(each) == ("check",) for each in ("critique", "tree", "verify"))


@pytest.mark.parametrize(
    ("demos", "options", "error"),
    [
        ([NOISY], {}, "has no example to mend others by"),
        ([{"question": "?"}], {}, "answer"),
        ([{**CLEAN, "claen": 1}], {}, "unknown key of .*, line 1, 'claen'"),
        (["text"], {}, "line 1: expected"),
        ([], {}, "must hold 1 to 16 examples, got 0"),
        ([CLEAN] * 17, {}, "must hold 1 to 16 examples, got 17"),
        ([CLEAN], {"rephrase": 0}, r"rephrase must be in \[1, 16\], got 0"),
        ([CLEAN], {"samples": 257}, r"samples must be in \[1, 256\], got 257"),
        ([CLEAN], {"tokens": 0}, "tokens must be 1 or more, got 0"),
    ],
)
def test_wrong_options(written: Any, demos: Any, options: dict[str, Any], error: str) -> None:
    with model() as reasoner, pytest.raises(UsageError, match=error):
        reasoner.ask("Why?", strategy="demos", options={"file": written(*demos), **options})


def test_a_file_that_is_not_there() -> None:
    with (
        model() as reasoner,
        pytest.raises(UsageError, match=r"cannot read examples from no\.jsonl"),
    ):
        reasoner.ask("Why?", strategy="demos", options={"file": "no.jsonl"})
