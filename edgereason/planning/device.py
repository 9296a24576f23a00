"""What this machine is, and what is known of machines like it.

A `Machine` is looked up (cores, memory, GPU, board) without loading a GPU library. A `Profile` is a
TOML file in `profiles/` with costs measured on such machines: what to expect before a model runs.
The scheduler does not read them, it measures a step when a model is opened. Knows no engine.
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

from edgereason.config import build, load_toml, preset_environment, unknown
from edgereason.errors import UsageError

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


@dataclass(frozen=True, slots=True)
class Cost:
    """What one model costs on one device, one request at a time. Coefficients of fits, seconds."""

    model: str
    prefill_s_per_token: float
    decode_s_per_token: float
    prefill_s: float = 0.0
    prefill_s_per_token2: float = 0.0
    prefill_block_tokens: int = 1
    prefill_fit_tokens: int = 0  # how far the fit holds; 0: everywhere
    prefill_long_tokens: int = 0  # a measured prompt beyond the fit
    prefill_long_s: float = 0.0
    decode_s_per_token_and_context: float = 0.0
    power_watts: float = 0.0  # 0: not measured
    power_rise_watts: float = 0.0
    power_rise_s: float = 1.0

    def prefill(self, num_tokens: int) -> float:
        """Seconds from the prompt to the first token."""
        if not self.prefill_fit_tokens or num_tokens <= self.prefill_fit_tokens:
            return self._prefill_fit(num_tokens)
        known = self._prefill_fit(self.prefill_fit_tokens)
        slope = (self.prefill_long_s - known) / (self.prefill_long_tokens - self.prefill_fit_tokens)
        return known + slope * (num_tokens - self.prefill_fit_tokens)

    def decode(self, num_prompt: int, num_tokens: int) -> float:
        """Seconds for `num_tokens` tokens after a prompt of `num_prompt`."""
        mean_context = num_prompt + (num_tokens - 1) / 2
        per_token = self.decode_s_per_token + self.decode_s_per_token_and_context * mean_context
        return num_tokens * per_token

    def energy_joules(self, decode_s: float) -> float:
        """Energy of so long a decode; power rises to its final value. 0: not measured."""
        risen = self.power_rise_s * (1 - math.exp(-decode_s / self.power_rise_s))
        return self.power_watts * decode_s - self.power_rise_watts * risen

    def _prefill_fit(self, num_tokens: int) -> float:
        block = self.prefill_block_tokens
        padded = -(-num_tokens // block) * block
        return (
            self.prefill_s_per_token2 * padded + self.prefill_s_per_token
        ) * padded + self.prefill_s


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of device. `source` says where the figures are from."""

    name: str
    source: str
    about: str = ""
    machine: str = ""
    board: str = ""  # part of the board's model name
    num_cores: int = 0
    memory_gib: float = 0.0
    memory_bandwidth_gb_per_s: float = 0.0
    costs: tuple[Cost, ...] = ()

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise UsageError(f"profile {self.name} must say where its figures are from: source")

    def fits(self, machine: Machine) -> bool:
        """Is `machine` such a device? A board must match in name and, within 20 %, in memory."""
        if self.machine and self.machine != machine.machine:
            return False
        if not self.board:
            return not machine.board
        near = abs(machine.memory_gib - self.memory_gib) <= 0.2 * self.memory_gib
        return self.board in machine.board and (not self.memory_gib or near)


def profile_names() -> list[str]:
    return sorted(path.stem for path in _profiles().glob("*.toml"))


def load_profile(name: str) -> Profile:
    """The profile of a file in `profiles/`, or of a path to a `.toml`."""
    if name.endswith(".toml"):
        return read_profile(Path(name))
    if name not in profile_names():
        raise unknown("no device profile called", name, profile_names())
    return read_profile(_profiles() / f"{name}.toml")


def read_profile(path: Path) -> Profile:
    return build(Profile, {"name": path.stem, **load_toml(path)}, what="key", where=path.name)


def matching_profile(machine: Machine) -> Profile | None:
    """The profile that fits a machine, those of boards first; None when there is no such."""
    fitting = [profile for profile in map(load_profile, profile_names()) if profile.fits(machine)]
    return max(fitting, key=lambda profile: bool(profile.board), default=None)


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


def _profiles() -> Path:
    """Installed it lies inside the package, in the source tree beside it."""
    package = Path(__file__).parent.parent
    inside = package / "profiles"
    return inside if inside.is_dir() else package.parent / "profiles"
