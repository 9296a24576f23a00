"""The programs of the page run as they are printed, against a real server."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.places import ROOT
from support.served import Served

PAGE = (ROOT / "docs" / "server.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("program", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_programs_of_the_page_run(server: Served, program: str) -> None:
    pytest.importorskip(program.split()[1])
    program = program.replace("http://127.0.0.1:8080", server.url)
    program = program.replace("smollm2-135m", "scripted")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        names: dict[str, object] = {}
        exec(program, names)
    close = getattr(names["client"], "close", None)
    if close is not None:
        close()
    assert said.getvalue()


def test_all_paths_are_on_the_page(server: Served) -> None:
    table = PAGE[PAGE.index("## Endpoints") : PAGE.index("## Budgets")]
    on_page = set(re.findall(r"`(/[^`]*)`", table)) | {"/v1/models/{name:path}"}
    served = {route.path for route in server.server.config.app.routes}  # type: ignore[union-attr]
    short = {path for path in served if f"/v1{path}" in served} - {"/completions", "/health"}
    assert len(short) == 6  # the page says that /v1 may be left out
    assert served - on_page - short == {"/v1/health", "/page.js"}
    assert on_page - served == {"/v1/models/NAME"}


def test_the_files_for_operators_name_options_that_there_are() -> None:
    manual = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for name in ("edgereason.service", "Containerfile"):
        text = (ROOT / "examples" / "server" / name).read_text(encoding="utf-8")
        commands = [line for line in text.splitlines() if line.startswith(("ExecStart", "CMD"))]
        assert commands, name
        for option in re.findall(r"--[a-z][a-z-]+", " ".join(commands)):
            assert f"`{option}`" in manual, option
        for twin in re.findall(r"EDGEREASON_[A-Z_]+", text):
            assert twin in manual, twin


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not installed")
    unit = (ROOT / "examples" / "server" / "edgereason.service").read_text(encoding="utf-8")
    program = re.search(r"ExecStart=(\S+)", unit)
    assert program is not None
    at = tmp_path / "edgereason.service"
    at.write_text(unit.replace(program[1], sys.executable), encoding="utf-8")
    command = [verify, "verify", str(at)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
