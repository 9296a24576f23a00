"""`edgereason show`."""

from __future__ import annotations

from pathlib import Path

from edgereason.planning import effort
from support import gguf_files
from support.cli_runner import Cli
from support.places import SCRIPTED


def test_show_prints_what_is_known(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf_files.gguf_bytes())
    rows = dict(line.split("  ", 1) for line in cli("show", str(path)).out.splitlines())
    assert rows["name"].strip() == "tiny"
    assert rows["context"].strip() == "512 tokens"
    assert rows["chat template"].strip() == "ChatML"
    assert rows["reasoning"].strip().startswith("cue")
    data = cli("show", str(path), "--json").json
    assert data["effort_tokens"] == effort.table(512)
    assert data["template_family"] == "ChatML"
    assert cli("show", str(path), "--verify").code == 3  # a bare file has no recorded sha256
    assert "verified" in cli("show", SCRIPTED, "--verify").out
