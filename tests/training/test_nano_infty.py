"""The InftyThink recipe: rounds that fit together, and the command that learns them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the recipes train with torch")
pytest.importorskip("tokenizers", reason="the recipes learn their tokenizer with tokenizers")
pytest.importorskip("safetensors", reason="the recipes save safetensors")

from edgereason.bench.tasks import iterate
from edgereason.bench.tasks.base import split_of
from edgereason.training.nano import folder, infty
from edgereason.training.nano import tokenizer as vocabulary
from edgereason.training.nano.model import Nano, Shape
from support.tiny_nano import TINY, WORDS, one_thread, run  # noqa: F401  # a fixture

ROUND = re.compile(
    r"<\|im_start\|>user\n(?P<question>.*?)(\n<history>\n(?P<left>\d+):(?P<x>\d+)\n</history>)?"
    r"<\|im_end\|>\n<\|im_start\|>assistant\n<think>\n(?P<thought>.*)\n</think>\n\n"
    r"(<summary>\n(?P<summary>.*)\n</summary>|(?P<cue>Final answer: )?(?P<answer>\d+))"
    r"<\|im_end\|>",
    re.DOTALL,
)
QUESTION = re.compile(r"x = (\d+); apply x -> \((\d)x \+ (\d+)\) mod 97, (\d+) times")


def rounds(num: int) -> list[re.Match[str]]:
    drawn = infty.draw(0, seed=0, num=num, tokenizer=WORDS)
    texts = [WORDS.decode(list(e.tokens), skip_special_tokens=False) for e in drawn]
    found = [ROUND.fullmatch(text) for text in texts]
    assert all(found)
    return [match for match in found if match]


def test_a_round_goes_on_where_the_history_stands_and_ends_with_what_it_found() -> None:
    endings = set()
    for match in rounds(400):
        asked = QUESTION.fullmatch(match["question"])
        assert asked
        x, factor, term, times = map(int, asked.groups())
        left, x = (int(match["left"]), int(match["x"])) if match["left"] else (times, x)
        assert 1 <= left <= times
        num = len(match["thought"].splitlines())
        for _ in range(num):
            x, left = (x * factor + term) % iterate.MODULUS, left - 1
        cut = num < 8 and left > 0
        assert cut or not match["cue"]
        assert match["summary"] == (f"{left}:{x}" if left and not match["cue"] else None)
        assert match["answer"] == (None if match["summary"] else str(x))
        assert split_of(match["question"]) == "train"
        endings.add((match["left"] is None, left > 0, cut, match["cue"] is not None))
    assert len(endings) == 8  # first, middle, last and only rounds; both ways of a cut


def test_hard_rounds_have_more_sums_in_which_a_carry_is_nearly_none() -> None:
    def share(hard: float) -> float:
        drawn = infty.draw(0, seed=0, num=200, tokenizer=WORDS, hard=hard)
        texts = [WORDS.decode(list(e.tokens), skip_special_tokens=False) for e in drawn]
        sums = [m for text in texts for m in re.finditer(r"=(\d+)\+(\d+)=", text)]
        return sum(int(m[1]) % 10 + int(m[2]) % 10 in (9, 10) for m in sums) / len(sums)

    assert 0.15 < share(0.0) < 0.25
    assert share(1.0) > 0.3


def test_a_round_fits_the_context_and_its_thinking_the_variant() -> None:
    question = iterate.ask(96, 9, 96, 999) + infty.HISTORY.format(summary="998:96")
    start = infty._Start(question, x=96, factor=9, term=96, left=998)
    longest = infty._whole(start, *iterate.walk(96, 9, 96, 998, infty.ROUND_STEPS))
    example = infty.encode(longest, WORDS)
    thinking = sum(example.learned)
    assert thinking <= infty.VARIANT["round_tokens"] + infty.VARIANT["summary_tokens"]
    assert example.num_tokens < Shape().context


def test_marks_of_the_summary_are_text_that_anyone_may_write() -> None:
    added = {
        token["content"]: token["special"] for token in json.loads(WORDS.to_str())["added_tokens"]
    }
    assert not any(added[mark] for mark in vocabulary.MARKS)
    assert all(added[mark] for mark in vocabulary.CONTROL)


def test_rounds_are_learned_from_a_base(tmp_path: Path) -> None:
    folder.save(Nano(replace(TINY, context=330)), WORDS, tmp_path / "base")
    args = ("--start", str(tmp_path / "base"), "--out", str(tmp_path / "out"))
    few = ("--steps", "1", "--examples", "2", "--threads", "1")
    run("infty", *args, *few)
    config = json.loads((tmp_path / "out" / "config.json").read_text("utf-8"))
    assert config["edgereason"]["variant"]["kind"] == "infty_think"
