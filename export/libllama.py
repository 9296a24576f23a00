"""libllama's quantizer and tokenizer, each run in a child process: the library may abort.

    python -m edgereason.export.libllama quantize IN OUT FILE_TYPE THREADS [IMATRIX]
    python -m edgereason.export.libllama tokenize GGUF < texts.json

Paths are absolute: the child works in a folder of its own (`edgereason.child`).
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from edgereason import child as children
from edgereason.errors import EngineError, UsageError

from .offline import Progress

_STEP: Final = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")
_BUFFER_BYTES: Final = 128 << 20  # of rows that the quantizer holds at once
_ERROR: Final = re.compile(r"failed to quantize: (.*)|error: (.*)|(.*GGML_ASSERT.*)")

QUANTIZE_BYTES: Final = 4 * _BUFFER_BYTES
"""Memory of the quantizer at most: rows as they are, as float32 and quantized, and the library."""


# --- this side ------------------------------------------------------------------------------------


def quantize(
    given: Path,
    out: Path,
    file_type: int,
    imatrix: Path | None,
    *,
    threads: int,
    progress: Progress,
) -> None:
    """Writes `out`. Raises `EngineError` with libllama's reason."""
    paths = [str(given.absolute()), str(out.absolute())]
    matrix = [str(imatrix.absolute())] if imatrix else []
    child = _start(["quantize", *paths, str(file_type), str(threads), *matrix])
    complaint = ""
    try:
        assert child.stderr is not None
        for line in child.stderr:
            if step := _STEP.match(line):
                progress("quantizing", int(step[1]), int(step[2]))
            elif found := _ERROR.search(line):
                complaint = next(part for part in found.groups() if part).strip()
        child.wait()
    finally:
        _end(child)
    if child.returncode:
        if "imatrix" in complaint or "importance matrix" in complaint:
            raise UsageError(
                f"libllama: {complaint}", "give one: --imatrix FILE, of edgereason export calibrate"
            )
        raise EngineError(
            f"libllama's quantizer failed: {complaint or f'exit code {child.returncode}'}",
            "the disk may be full, or the memory",
        )


def tokenize(model: Path, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of each text, special ones recognised, none added."""
    child = _start(["tokenize", str(model.absolute())])
    try:
        assert child.stdin is not None
        child.stdin.write(json.dumps(list(texts)) + "\n")
        child.stdin.flush()
        assert child.stdout is not None
        answer = child.stdout.readline()
    finally:
        _end(child)
    if not answer:
        raise EngineError(f"libllama cannot open the vocabulary of {model.name}")
    found: list[list[int]] = json.loads(answer)
    return found


def _start(arguments: Sequence[str]) -> subprocess.Popen[str]:
    logged = subprocess.PIPE if arguments[0] == "quantize" else subprocess.DEVNULL
    return subprocess.Popen(
        children.command("edgereason.export.libllama", *arguments),
        cwd=children.NOWHERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=logged,
        text=True,
        errors="replace",
    )


def _end(child: subprocess.Popen[str]) -> None:
    if child.poll() is None:
        child.kill()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
    child.wait()


# --- the child's side -----------------------------------------------------------------------------


def _quantize(given: str, out: str, file_type: str, threads: str, imatrix: str = "") -> int:
    import llama_cpp

    options = llama_cpp.llama_model_quantize_default_params()
    options.nthread = int(threads)
    options.ftype = int(file_type)
    options.allow_requantize = True
    options.max_buf_size = _BUFFER_BYTES
    entries = _entries(Path(imatrix)) if imatrix else None
    if entries is not None:
        options.imatrix = entries
    code: int = llama_cpp.llama_model_quantize(given.encode(), out.encode(), ctypes.byref(options))
    return code


def _entries(path: Path) -> Any:
    """The importance of each weight as libllama takes it: an array that ends without a name."""
    import llama_cpp

    from .weights.imatrix import read

    imatrix = read(path)
    entries = (llama_cpp.llama_model_imatrix_data * (len(imatrix.sums) + 1))()
    for entry, name in zip(entries, imatrix.sums, strict=False):
        values = imatrix.importance(name)
        assert values is not None
        flat = (ctypes.c_float * values.size).from_buffer_copy(values.tobytes())
        entry.name, entry.data, entry.size = name.encode(), flat, values.size
    return entries


def _tokenize(model: str) -> int:
    import llama_cpp

    options = llama_cpp.llama_model_default_params()
    options.vocab_only = True
    opened = llama_cpp.llama_model_load_from_file(model.encode(), options)
    if not opened:
        return 1
    vocabulary = llama_cpp.llama_model_get_vocab(opened)
    found = []
    for text in json.loads(sys.stdin.readline()):
        raw = text.encode()
        room = (ctypes.c_int32 * (len(raw) + 8))()
        count = llama_cpp.llama_tokenize(vocabulary, raw, len(raw), room, len(room), False, True)
        found.append(list(room[: max(count, 0)]))
    print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "quantize":
        sys.exit(_quantize(*rest))
    sys.exit(_tokenize(*rest))
