"""What this machine is: cores, memory, GPU, board, with the limits of its containers.

A `Machine` is looked up without loading a GPU library. What is known of machines like it is in
`profile.py`. Knows no engine.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import psutil

from edgereason.config import preset_environment

_GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine. Limits of a container count as the machine's own.

    Attributes:
        machine: `x86_64`, `aarch64`, ...
        num_cores: logical cores that this process may use.
        gpu: name of the first NVIDIA GPU; "" for none.
        board: model of a single-board computer, e.g. "NVIDIA Jetson AGX Orin Developer Kit".
    """

    machine: str
    cpu: str
    num_cores: int
    memory_gib: float
    available_gib: float
    gpu: str = ""
    board: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    total_gib: float
    available_gib: float
    process_gib: float  # resident, of this process


def this_machine(root: Path = Path("/")) -> Machine:
    """Looks at the machine. `root` is where its files are looked for."""
    memory = memory_now(root)
    return Machine(
        machine=platform.machine(),
        cpu=_cpu_name(root),
        num_cores=num_cores(root),
        memory_gib=memory.total_gib,
        available_gib=memory.available_gib,
        gpu=_gpu_name(root),
        board=_text(root / "proc/device-tree/model"),
    )


def calm_threads() -> None:
    """Lets OpenMP's threads spin only briefly; works before the native library is first loaded.

    By default they spin for milliseconds at each barrier: where another process has taken a core, a
    step on two threads then takes up to a second instead of 0.1. With much less than this they
    sleep at most barriers, and waking them costs an idle machine 7 % (docs/log.md).
    """
    preset_environment("GOMP_SPINCOUNT", "5000")


def memory_now(root: Path = Path("/")) -> Memory:
    """Memory at this moment: the machine's, or the container's where that has less."""
    host = psutil.virtual_memory()
    total, available = host.total, host.available
    for group in _groups(root, "memory"):
        limit = _number(group / "memory.max") or _number(group / "memory.limit_in_bytes")
        if limit is not None:
            total = min(total, limit)
            available = min(available, max(limit - _used(group), 0))
    resident = psutil.Process().memory_info().rss
    return Memory(total / _GIB, available / _GIB, resident / _GIB)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The control groups this process is in, and those above them: each may have a limit. Version 2
    has one tree, version 1 (JetPack 5) one for each controller. In a container the folders of the
    path may not be there; its own limits are in the topmost.
    """
    top = root / "sys/fs/cgroup"
    places = {top: "/", top / controller: "/"}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers == "" or controller in controllers.split(","):
            places[top / controller if controllers else top] = path
    for place, path in places.items():
        inside = PurePosixPath("/" + path.strip("/"))
        if ".." not in inside.parts:
            yield from (place / str(part).lstrip("/") for part in (inside, *inside.parents))


def _used(group: Path) -> int:
    """Bytes a group holds, less the file cache that the kernel gives back when asked."""
    held = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes") or 0
    for line in _text(group / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        # Version 1 counts those below under a name of their own.
        if key in ("inactive_file", "total_inactive_file") and value.isdigit():
            cached = int(value)
            if key == "total_inactive_file" or (group / "memory.current").exists():
                held -= cached
    return max(held, 0)


def num_cores(root: Path = Path("/")) -> int:
    """Cores this process may run on, and of these as many as its CPU quota pays for."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    for group in _groups(root, "cpu"):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = (_text(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota.isdigit() and period.isdigit() and int(period):  # "max" or -1: no limit
            cores = min(cores, math.ceil(int(quota) / int(period)))
    return max(cores, 1)


def _cpu_name(root: Path) -> str:
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or platform.machine()


def _gpu_name(root: Path) -> str:
    """An NVIDIA GPU as its driver shows it. A Jetson's is part of the chip and not shown there."""
    for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        for line in _text(path).splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "Model":
                return value.strip()
    is_tegra = (root / "etc/nv_tegra_release").exists() or "Jetson" in _text(
        root / "proc/device-tree/model"
    )
    return "NVIDIA Tegra (integrated)" if is_tegra else ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None  # "max": no limit


def _text(path: Path) -> str:
    """The text of a file of the system's; "" where there is none. Device trees end it with NUL."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\0").strip()
    except OSError:
        return ""
