"""The process in which TensorRT builds: `python -m edgereason.export.trt.child REQUEST ANSWER`.

Parses the graph, compares its inputs and outputs with what was asked for, builds, writes the
engine. The answer is a file: libraries print what they like. Only `build.py` starts it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from edgereason.engines.graph.trt_library import import_trt, make_logger
from edgereason.errors import EdgereasonError

from .build import Port, Request, from_json, is_full, shape_of


class Refused(Exception):
    """TensorRT said no; the reasons are in the list of errors."""


def main(order: str, answer: str) -> None:
    request = from_json(json.loads(Path(order).read_text()))
    errors: list[str] = []
    version = ""
    try:
        trt = import_trt(request.builder)
        version = str(trt.__version__)
        said = _build(trt, request, errors) | {"version": version}
    except Refused:
        said = {"version": version, "errors": errors or ["it gave no reason"]}
    except EdgereasonError as error:
        said = {"version": version, "errors": [str(error)]}
    Path(answer).write_text(json.dumps(said))


def _build(trt: ModuleType, request: Request, errors: list[str]) -> dict[str, Any]:
    begin = time.monotonic()
    builder = trt.Builder(make_logger(trt, errors))
    # The types are those in the graph: the one way that all versions from 10 on have.
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse_from_file(str(request.graph)):
        errors[:0] = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise Refused
    errors += _differences(trt, network, request)
    if errors:
        raise Refused
    config = _config(trt, builder, request)
    for profile in _profiles(builder, request):
        if config.add_optimization_profile(profile) < 0:
            raise Refused
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise Refused
    with request.engine.open("wb") as file:
        num_bytes = file.write(memoryview(engine))
    if is_full(request.builder):
        _replace(request.cache, bytes(config.get_timing_cache().serialize()))
    seconds = time.monotonic() - begin
    return {"num_bytes": num_bytes, "seconds": seconds, "peak_bytes": _peak_bytes()}


def _peak_bytes() -> int:
    """Most memory this process held. Not `getrusage`, which counts in the process it came from."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _differences(trt: ModuleType, network: Any, request: Request) -> list[str]:
    """How the network's inputs and outputs are not those asked for."""
    found_inputs = [network.get_input(i) for i in range(network.num_inputs)]
    found_outputs = [network.get_output(i) for i in range(network.num_outputs)]
    return [
        f"{kind} {each}"
        for kind, found, wanted in (
            ("input", found_inputs, request.inputs),
            ("output", found_outputs, request.outputs),
        )
        for each in _unlike(trt, found, wanted)
    ]


def _unlike(trt: ModuleType, found: Sequence[Any], wanted: Sequence[Port]) -> list[str]:
    have = {
        tensor.name: (str(_numpy_name(trt, tensor.dtype)), tuple(tensor.shape)) for tensor in found
    }
    want = {
        port.name: (port.dtype, tuple(-1 if isinstance(d, str) else d for d in port.shape))
        for port in wanted
    }
    return [
        f"{name} is {have.get(name, 'missing')}, not {want.get(name, 'asked for')}"
        for name in dict.fromkeys([*want, *have])
        if have.get(name) != want.get(name)
    ]


def _numpy_name(trt: ModuleType, dtype: Any) -> str:
    names = {
        trt.DataType.FLOAT: "float32",
        trt.DataType.HALF: "float16",
        trt.DataType.INT32: "int32",
        trt.DataType.INT64: "int64",
    }
    return names.get(dtype, str(dtype))


def _config(trt: ModuleType, builder: Any, request: Request) -> Any:
    config = builder.create_builder_config()
    if request.workspace_bytes:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_bytes)
    if is_full(request.builder):
        known = request.cache.read_bytes() if request.cache.is_file() else b""
        # A cache of another device or version is refused, and the build starts a new one.
        if not config.set_timing_cache(config.create_timing_cache(known), False):
            config.set_timing_cache(config.create_timing_cache(b""), False)
    elif request.capabilities:
        config.num_compute_capabilities = len(request.capabilities)
        for i, capability in enumerate(request.capabilities):
            target = getattr(trt.ComputeCapability, "SM" + capability.replace(".", ""))
            config.set_compute_capability(target, i)
    return config


def _profiles(builder: Any, request: Request) -> list[Any]:
    profiles = []
    for ranges in request.profiles:
        profile = builder.create_optimization_profile()
        for port in request.inputs:
            shapes = [
                shape_of(port, {name: sizes[i] for name, sizes in ranges.items()}) for i in range(3)
            ]
            profile.set_shape(port.name, *shapes)
        profiles.append(profile)
    return profiles


def _replace(path: Path, data: bytes) -> None:
    """Written whole or not at all: the next build trusts it."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(data)
    os.replace(unfinished, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
