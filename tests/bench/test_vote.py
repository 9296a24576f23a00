"""The bench of votes, small, on a real model: ours in several ways, and libllama's batch API."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from edgereason.bench.harness.runner import Findings
from edgereason.bench.rivals.libllama import Libllama
from edgereason.bench.suites import vote
from edgereason.errors import EdgereasonError
from edgereason.models.bundle import model_file
from edgereason.records import Sampling
from edgereason.runtime.reasoner import Reasoner

NANO = ["--model", "nano", "--context", "4096", "--problems", "3", "--samples", "6"]


def found(*line: str) -> Findings:
    from edgereason.bench.harness.runner import _parser

    return vote.measure(_parser(vote.BENCH).parse_args([*NANO, *line]), lambda text: None)


def test_ways_of_voting_are_paired_on_the_same_problems(tmp_path: Path) -> None:
    record = tmp_path / "rows.jsonl"
    ways = "all samples,consensus,dropped,libllama"
    figures = found("--ways", ways, "--record", str(record)).figures
    assert [each["num"] for each in figures.values()] == [3, 3, 3, 3]
    assert figures["consensus"]["tokens"] < 0.9 * figures["all samples"]["tokens"]
    assert 0.5 < figures["libllama"]["tokens"] / figures["all samples"]["tokens"] < 2
    lines = record.read_text()
    assert len(lines.splitlines()) == 12
    again = found("--ways", ways, "--record", str(record))
    assert (record.read_text(), again.figures) == (lines, figures)  # nothing was asked twice
    assert again.remarks[0].startswith("consensus: the winner of all samples in ")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (("--ways", "loud"), "no way to vote called 'loud'"),
        (("--ways", "libllama", "--of", "program"), "cannot sample program"),
    ],
)
def test_what_cannot_be_voted_is_named(line: tuple[str, ...], error: str) -> None:
    with pytest.raises(EdgereasonError, match=error):
        found(*line)


def test_samples_of_libllama_depend_on_their_seed() -> None:
    with Reasoner.open("nano") as reasoner:
        prompt = reasoner.prompt_tokens("3 4 + 5 -", thinking=True)
        path = model_file(reasoner.bundle)
    with closing(Libllama(path, context=512, threads=1, max_seqs=3)) as bare:
        hot = bare.samples(prompt, [1, 1, 2], Sampling(temperature=3.0), 24)
        assert hot[0] == hot[1] != hot[2]
        cold = bare.samples(prompt, [1, 2], Sampling(temperature=3.0, top_k=1), 24)
        assert cold[0] == cold[1]
        assert max(map(len, [*hot, *cold])) <= 24
