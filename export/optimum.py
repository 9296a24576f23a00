"""ONNX by way of optimum, for architectures that are none of ours.

optimum-onnx wants an older transformers than we do, so it lives in an environment of its own and
runs as a child: the program `optimum-cli`, on the path or named by `EDGEREASON_OPTIMUM`. What it
writes is a folder in its own layout, which `docs/models.md` says more of. Float32 only.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from edgereason.config import env
from edgereason.errors import EngineError, UnsupportedError, UsageError
from edgereason.models import onnx_folder

from .sources.hugging_face import CONFIG, fetch, read_json

PROGRAM: Final = "optimum-cli"
TASK: Final = "text-generation-with-past"
_INSTALL: Final = (
    "python -m venv optimum && optimum/bin/pip install 'optimum-onnx[onnxruntime]', "
    f"then set EDGEREASON_OPTIMUM=optimum/bin/{PROGRAM}"
)


def find_program() -> str:
    """The program's path. Raises `UnsupportedError` where it is not installed."""
    named = env("optimum")
    found = shutil.which(named or PROGRAM)
    if found is None:
        where = f"EDGEREASON_OPTIMUM is {named!r}" if named else f"no {PROGRAM} on the path"
        raise UnsupportedError(f"optimum is not installed: {where}", _INSTALL)
    return found


def export(source: str, out: Path, say: Callable[[str], None] = lambda line: None) -> Path:
    """Runs optimum on a Hugging Face folder, or on `hf:owner/repo`, which is fetched first. `out`
    gets its name when all is there. `say` is called with each line that optimum writes."""
    program = find_program()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty", "give another folder")
    folder = Path(source.removeprefix("file:")).expanduser()
    if not folder.is_dir():
        folder = fetch(source.removeprefix("hf:"))
    part = out.absolute().parent / f".{out.absolute().name}.part"
    shutil.rmtree(part, ignore_errors=True)
    made = part / "made"
    made.mkdir(parents=True)
    try:
        model = _readable(folder, part / "source")
        _run([program, "export", "onnx", "--model", str(model), "--task", TASK, str(made)], say)
        if not onnx_folder.is_folder(made):
            raise EngineError(f"optimum has written no decoder for {folder}")
        out.mkdir(exist_ok=True)
        os.replace(made, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def _readable(folder: Path, copy: Path) -> Path:
    """The folder, with positions told as before transformers 5: what optimum takes reads the new
    way silently as if nothing were said, and exports another model."""
    config = read_json(folder / CONFIG)
    rope = config.get("rope_parameters")
    if not isinstance(rope, dict) or "rope_theta" in config:
        return folder
    if "rope_theta" not in rope:
        raise UnsupportedError(
            "config.json tells positions layer by layer, as transformers 5 does; optimum's would "
            "not understand it",
            "save the model with transformers below 4.58",
        )
    copy.mkdir()
    for path in folder.iterdir():
        if path.name != CONFIG:
            (copy / path.name).symlink_to(path.resolve())
    told: dict[str, Any] = {**config, "rope_theta": rope["rope_theta"]}
    if rope.get("rope_type", "default") != "default":
        told["rope_scaling"] = {key: value for key, value in rope.items() if key != "rope_theta"}
    (copy / CONFIG).write_text(json.dumps(told), encoding="utf-8")
    return copy


def _run(command: list[str], say: Callable[[str], None]) -> None:
    lines: list[str] = []
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise UnsupportedError(f"cannot run {command[0]}: {error.strerror}", _INSTALL) from None
    with child:
        assert child.stdout
        try:
            for line in child.stdout:
                lines.append(line.rstrip())
                say(lines[-1])
        except BaseException:  # Ctrl-C
            child.kill()
            raise
    if child.returncode:
        said = [line for line in lines if line.strip()] or ["it gave no reason"]
        raise EngineError(f"optimum failed: {said[-1][:300]}", "what it wrote is above")
