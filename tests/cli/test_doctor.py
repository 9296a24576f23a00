"""`edgereason doctor`."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cli_runner import Cli


def test_doctor_says_what_to_do(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    ran = cli("doctor")
    assert ran.code == 0
    assert all(line.startswith(("ok   ", "warn ")) for line in ran.out.splitlines())
    assert "ok   models: nano" in ran.out
    assert "is not here (edgereason pull smollm2-135m)" in ran.out
    checks = {check["name"]: check for check in cli("doctor", "--json").json["checks"]}
    fine = {"name": "native core", "value": "loads", "way_out": "", "fix": ""}
    assert checks["native core"] == fine
