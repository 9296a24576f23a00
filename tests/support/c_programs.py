"""Runs the tools that build and check programs in C."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path


def done(
    *command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """What a command prints; a failure is that of the test."""
    ran = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=env,
    )
    assert ran.returncode == 0, f"{command[0]} gave {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout
