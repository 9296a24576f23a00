"""What was measured of a model is kept beside no model, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgereason.models.bundle import open_bundle
from edgereason.planning import measured
from support.places import SCRIPTED


def test_what_is_written_is_read() -> None:
    bundle = open_bundle(SCRIPTED)
    assert measured.read(bundle, "x") == {}
    measured.write(bundle, "x", {"a": [1, 2.5]})
    measured.write(bundle, "y", {"b": "c"})
    assert measured.read(bundle, "x") == {"a": [1, 2.5]}
    assert measured.read(bundle, "y") == {"b": "c"}
    assert [path.suffix for path in measured.file_of(bundle).parent.iterdir()] == [".json"]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 99, "x": {"a": 1}}', "\0\0"])
def test_a_damaged_file_is_as_none(damage: str) -> None:
    bundle = open_bundle(SCRIPTED)
    measured.write(bundle, "x", {"a": 1})
    measured.file_of(bundle).write_text(damage)
    assert measured.read(bundle, "x") == {}
    measured.write(bundle, "x", {"a": 2})
    assert measured.read(bundle, "x") == {"a": 2}


def test_where_nothing_can_be_written_it_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEREASON_MEASURED", str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        measured.write(open_bundle(SCRIPTED), "x", {})
