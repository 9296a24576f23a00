"""A few mutants of each kind in every run of the tests; `make fuzz` opens as many as it can.

Findings of earlier runs that were mended are named by their number, and opened again.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzz import kinds, mutate, worker
from fuzz.__main__ import fuzz

from edgereason.models import prefix_file

NUM = 40
MENDED = {
    "hf-folder": (176, 182, 213),
    "imatrix": (2177, 3767, 3992),
    "manifest": (2437,),
    "onnx": (1010, 1334, 3162, 3346),
    "prefix": (3281,),
    "values": (2, 27, 33, 40, 43, 110, 120, 125, 138, 3840),
}


@pytest.mark.parametrize("name", kinds.KINDS)
def test_mutants_are_opened_or_refused(name: str) -> None:
    for number in (*range(NUM), *MENDED.get(name, ())):
        assert worker.run_one(name, number) in ("opened", "refused"), (name, number)


@pytest.mark.parametrize("name", sorted(set(kinds.KINDS) - {"values"}))
def test_a_seed_as_it_is_is_opened(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all mutants would be refused for a reason of the seed's own."""
    same = lambda raw, draw, most=0: raw  # noqa: E731  # in place of all kinds of damage
    monkeypatch.setattr(mutate, "bytes_of", same)
    monkeypatch.setattr(mutate, "json_of", same)
    monkeypatch.setattr(mutate, "template_of", same)
    kind = kinds.KINDS[name]
    kind.make(tmp_path, random.Random(0))
    if name == "weights":  # damages by itself
        (tmp_path / "model.gguf").write_bytes((kinds.SEEDS / "model.gguf").read_bytes())
    kind.open(tmp_path)


def test_a_mutant_is_made_from_its_number(tmp_path: Path) -> None:
    raws = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        kinds.KINDS["gguf"].make(folder, random.Random("gguf 7"))
        raws.append((folder / "model.gguf").read_bytes())
    assert raws[0] == raws[1] != (kinds.SEEDS / "model.gguf").read_bytes()


def test_no_mutant_changes_what_the_next_is_made_of() -> None:
    before = repr(mutate.VALUES)
    raw = (kinds.SEEDS / "hf" / "config.json").read_bytes()
    for number in range(2000):
        mutate.json_of(raw, random.Random(number))
    assert repr(mutate.VALUES) == before


def test_changed_weights_that_are_accepted_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check of the sum there are such."""
    monkeypatch.setattr(prefix_file, "_check_digest", lambda path, table, told: None)
    found = [worker.run_one("prefix", number) for number in range(80)]
    assert any("Accepted" in outcome for outcome in found)


def test_an_error_of_another_kind_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(path: Path) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("edgereason.models.bundle.open_bundle", wrong)
    assert "ZeroDivisionError: on purpose" in worker.run_one("gguf", 0)


def test_a_child_tells_what_happened() -> None:
    counts, found = fuzz("imatrix", first=0, num=5, seconds=60)
    assert (sum(counts.values()), found) == (5, {})
