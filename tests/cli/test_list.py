"""`edgereason list`, and `pull`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support.cli_runner import Cli
from support.places import SCRIPTED


def test_list_and_pull(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    models = {model["name"]: model for model in cli("list", "--json").json["models"]}
    assert models["smollm2-135m"]["cached"] is False
    assert models["nano"]["cached"] is True  # it comes with the package
    assert "Apache-2.0" in cli("list").out

    def pull(name: str, progress: Callable[[int, int], None], **_: object) -> Path:
        progress(1, 2)
        progress(2, 2)
        return Path(SCRIPTED)

    monkeypatch.setattr("edgereason.models.hub.pull", pull)
    assert cli("pull", "smollm2-135m").out == f"scripted: 0.0 MiB, Apache-2.0, in {SCRIPTED}\n"
    assert cli("pull", "smollm2-135m", "--json").json["path"] == SCRIPTED


def test_list_shows_a_damaged_model_and_the_others(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    folder = tmp_path / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "edgereason.json").write_text("{")
    models = {model["name"]: model for model in cli("list", "--json").json["models"]}
    assert set(models) >= {"mine", "smollm2-135m", "nano"}
    assert "cannot read" in models["mine"]["error"]
