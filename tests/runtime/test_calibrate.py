"""Calibration on a model whose drafts are right exactly where they are sure."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from edgereason.errors import UsageError
from edgereason.planning.calibration import Calibration
from edgereason.runtime import calibrate
from edgereason.runtime.reasoner import Reasoner
from support.cli_runner import Cli
from support.places import SCRIPTED


def write(folder: Path, num: int = 12, answer: str = "51") -> Path:
    """Questions whose thought answer of the scripted model is 51; its draft says nothing."""
    path = folder / "questions.jsonl"
    rows = [{"question": "What is 17 * 3?", "answer": f"so #### {answer}"}] * num
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def reasoner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reasoner:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path / "cache"))
    return Reasoner.open(SCRIPTED)


def measure(reasoner: Reasoner, path: Path, *, answers: bool = True) -> Calibration:
    with reasoner:
        asked = calibrate.read(path, answers=answers)
        return calibrate.calibrate(reasoner, asked, path.name, ways=("no-think", "bare"))


@pytest.mark.parametrize("answers", [True, False])
def test_a_model_whose_drafts_are_wrong_is_told_to_think(
    reasoner: Reasoner, tmp_path: Path, answers: bool
) -> None:
    found = measure(reasoner, write(tmp_path), answers=answers)
    assert found.labels == ("answers" if answers else "majority")
    assert found.steps == ()
    assert found.num == 12
    assert all(right for _, right in found.ways["think"].points)
    assert not any(right for _, right in found.ways["no-think"].points)
    assert found.ways["think"].mean_tokens == 34
    assert "thinking 12 right at 34 tokens" in found.about


def test_without_a_majority_there_is_nothing_to_go_by(
    reasoner: Reasoner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrate, "_VOTERS", 1)  # one vote is no majority
    with pytest.raises(UsageError, match="only 0 of 12 questions have a majority answer"):
        measure(reasoner, write(tmp_path), answers=False)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"question": "a"}\n' * 10, "line 1: expected .*answer"),
        ("no json\n" * 10, "line 1: expected"),
        ('{"question": "a", "answer": "1"}\n', "has 1 questions"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=error):
        calibrate.read(path)


def test_a_way_that_is_no_draft_is_refused(reasoner: Reasoner, tmp_path: Path) -> None:
    asked = calibrate.read(write(tmp_path))
    with reasoner, pytest.raises(UsageError, match="vote cannot be a draft"):
        calibrate.calibrate(reasoner, asked, "q", ways=("vote",))


def test_the_command_keeps_what_it_found_and_auto_goes_by_it(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path / "cache"))
    path = str(write(tmp_path))
    command = ("calibrate", "--questions", path, "--answers", "--ways", "no-think", "--json")
    found = cli(*command).json
    assert Path(found.pop("path")).is_file()
    assert found.pop("thoughts") == "told by the model's files"
    assert found == asdict(found_again(tmp_path)) | {"ways": found["ways"], "steps": []}
    note = cli("run", "What is 17 * 3?", "--json").json["note"]
    assert "calibrated on 12 questions of questions.jsonl by its answers: no draft" in note
    # A dry run prints the same and keeps nothing.
    ran = cli("calibrate", "--questions", path, "--answers", "--ways", "no-think", "--dry-run")
    assert "no draft pays here" in ran.out
    assert "exits: a perfect one would still think" in ran.out
    assert "not kept" in ran.out


def found_again(folder: Path) -> Calibration:
    from edgereason.models.bundle import open_bundle
    from edgereason.planning.calibration import load

    known = load(open_bundle(SCRIPTED))
    assert known is not None
    return known


@pytest.mark.parametrize(
    ("args", "error"),
    [(("--num", "-1"), "--num must be 0 or more, got -1"),
     (("--parallel", "0"), "--parallel must be 1 or more, got 0")],
)  # fmt: skip
def test_wrong_numbers_are_named(
    cli: Cli, tmp_path: Path, args: tuple[str, ...], error: str
) -> None:
    ran = cli("calibrate", "--questions", str(write(tmp_path)), *args)
    assert ran.code == 2
    assert error in ran.err
