"""Builds a TensorRT engine from an ONNX graph, in a process of its own.

A library that crashes, or is killed for memory, takes that process with it and not the export. What
an engine must look like from outside is told by `Port`s; dimensions that vary have a name, and a
`Profile` gives each name its range. Knows no model.
"""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from edgereason import child
from edgereason.engines.graph.trt_library import FULL
from edgereason.errors import EngineError, MemoryLimitError

Profile = Mapping[str, tuple[int, int, int]]
"""Name of a dimension -> least, usual, most."""

CAPABILITIES: Final = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
"""What TensorRT-RTX 1.7 builds for without the device."""

NEEDS: Final = {"fp16": 7.5, "int8": 7.5, "bf16": 8.0, "int4": 8.0, "fp8": 8.9}
"""Compute capability that a number format needs."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: type as NumPy writes it, dimensions as numbers or names."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """What to build.

    Attributes:
        builder: `tensorrt` or `tensorrt_rtx`.
        capabilities: for `tensorrt_rtx`; () the device of this machine.
        workspace_bytes: scratch memory of the engine; 0 as much as TensorRT takes.
        cache: timing cache, read where it is there and written back; `tensorrt_rtx` has none.
    """

    builder: str
    graph: Path
    engine: Path
    cache: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    profiles: tuple[Profile, ...]
    capabilities: tuple[str, ...] = ()
    workspace_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a build took; `peak_bytes` of the process that built."""

    version: str
    num_bytes: int
    seconds: float
    peak_bytes: int


def build(request: Request) -> Report:
    """Raises `EngineError` with all that TensorRT had to say, and a way out."""
    with tempfile.TemporaryDirectory() as folder:
        order, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        order.write_text(json.dumps(asdict(request), default=_absolute))
        command = child.command(f"{__package__}.child", order, answer)
        # It prints on its own; all that matters comes back in the answer.
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if not answer.is_file():
            raise _crashed(request, ended.returncode, ended.stderr)
        said = json.loads(answer.read_text())
    if "errors" in said:
        raise _refused(request, said["version"], said["errors"])
    return Report(**said)


def _absolute(path: Path) -> str:
    """The child works in a folder of its own."""
    return str(path.absolute())


def supported(capability: str) -> str:
    """For people: the number formats that a compute capability takes."""
    return ", ".join(name for name, least in NEEDS.items() if float(capability) >= least)


def _crashed(request: Request, code: int, stderr: str) -> Exception:
    last = stderr.strip().splitlines()[-1:] or ["it left no message"]
    if code == -signal.SIGKILL:
        return MemoryLimitError(
            f"the process that built with {request.builder} was killed, most likely for memory",
            "close other programs, take a smaller context or chunk, or build on a larger "
            "machine with tensorrt_rtx",
        )
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return EngineError(f"{request.builder} crashed while building ({how}): {last[0]}")


def _refused(request: Request, version: str, errors: Sequence[str]) -> EngineError:
    text = "; ".join(dict.fromkeys(" ".join(error.split()) for error in errors))
    where = (
        f"compute capability {', '.join(request.capabilities)}"
        if request.capabilities
        else "this device"
    )
    ways = (way_out for sign, way_out in _WAYS_OUT if sign in text.lower())
    way_out = next(ways, "try another --quant or form, or a newer TensorRT")
    offers = [f"{each} takes {supported(each)}" for each in request.capabilities]
    hint = "; ".join([*offers, way_out])
    return EngineError(f"{request.builder} {version} cannot build for {where}: {text}", hint)


_WAYS_OUT: Final = (
    ("hw-specific datatypes", "take a --quant that it has"),
    ("attention operation was not supported", "--set form=A has no such operator"),
    ("groupqueryattention", "the graph is ONNX Runtime's: export the model with --to tensorrt"),
    ("plugin not found", "the graph is not TensorRT's: export the model with --to tensorrt"),
    ("out of memory", "take a smaller context, batch or chunk"),
    ("insufficient", "name the device's compute capability, as in --set capability=8.6"),
)


def is_full(builder: str) -> bool:
    """Whether it builds on the device only, and knows a timing cache."""
    return builder == FULL


def shape_of(port: Port, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The port's shape where each name has a size."""
    return tuple(sizes[each] if isinstance(each, str) else each for each in port.shape)


def from_json(data: Mapping[str, Any]) -> Request:
    """The other side of what `build` writes."""

    def ports(name: str) -> tuple[Port, ...]:
        return tuple(Port(each["name"], each["dtype"], tuple(each["shape"])) for each in data[name])

    return Request(
        builder=data["builder"],
        graph=Path(data["graph"]),
        engine=Path(data["engine"]),
        cache=Path(data["cache"]),
        inputs=ports("inputs"),
        outputs=ports("outputs"),
        profiles=tuple(
            {name: (low, usual, high) for name, (low, usual, high) in each.items()}
            for each in data["profiles"]
        ),
        capabilities=tuple(data["capabilities"]),
        workspace_bytes=data["workspace_bytes"],
    )
