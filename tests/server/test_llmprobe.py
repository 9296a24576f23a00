"""llmprobe, a suite that asks servers over HTTP, in its quick form: all that it calls MUST holds.

It is a package of npm, which is fetched into `build/` when it is not there; without Node, or where
npm cannot fetch it, this is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from support.places import ROOT
from support.served import served

VERSION: Final = "0.6.12"
PLACE: Final = ROOT / "build" / f"llmprobe-{VERSION}"


@pytest.fixture(scope="module")
def program() -> Path:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node and npm are not installed")
    script = PLACE / "node_modules" / "llmprobe" / "bin" / "dist" / "llmprobe.mjs"
    if not script.is_file():
        fetch = [npm, "install", "--silent", "--prefix", str(PLACE), f"llmprobe@{VERSION}"]
        try:
            done = subprocess.run(fetch, capture_output=True, timeout=100, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm did not fetch llmprobe {VERSION} in 100 s")
        if done.returncode:
            pytest.skip(f"npm cannot fetch llmprobe {VERSION}: {done.stderr.decode()[-200:]}")
    return script


def probed(program: Path, url: str, model: str, home: Path) -> dict[str, Any]:
    """Its report."""
    options = ("--quick", "--no-bench", "--no-save", "--timeout", "60", "--reasoning", "default")
    done = subprocess.run(
        ["node", str(program), f"{url}/v1", "-k", "sesame", "-m", model, *options, "--json"],
        capture_output=True,
        timeout=110,
        check=False,
        env={**os.environ, "HOME": str(home)},  # it writes a library of its own there
    )
    assert done.stdout, done.stderr.decode()[-2000:]
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.slow
@pytest.mark.network
def test_all_that_must_be_holds(program: Path, tmp_path: Path) -> None:
    with served("nano", api_keys=("sesame",)) as server:
        found = probed(program, server.url, "nano", tmp_path)["conformance"]
    failed = [one for one in found["results"] if one["outcome"] == "fail"]
    assert failed == []
    assert found["passed"] == found["total"] >= 70
    assert {one["surface"] for one in found["bySurface"]} == {
        "models",
        "chat",
        "responses",
        "messages",
    }
