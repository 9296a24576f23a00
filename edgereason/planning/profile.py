"""What is known of a kind of device: a TOML file of `profiles/`, data only.

    profile = load_profile("jetson-agx-orin-64gb")
    profile.mode("30W").memory_bandwidth_gb_per_s

What a maker says (`datasheet`, `modes`) stands apart from what somebody measured (`points`,
`costs`), and each says where it is from. Knows no engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgereason.config import build, load_toml, measured_dir, unknown
from edgereason.errors import UsageError
from edgereason.planning.cost import Cost, Power
from edgereason.planning.device import Machine

_POINT_SPREAD: Final = 0.08  # of a figure of others: another version, prompt, temperature


@dataclass(frozen=True, slots=True)
class Datasheet:
    """What the maker says. 0: not said, or not looked up.

    Attributes:
        fp16_tflops: dense, of the unit that would compute; TOPS with sparsity are not this.
    """

    source: str
    memory_bandwidth_gb_per_s: float = 0.0
    fp16_tflops: float = 0.0


@dataclass(frozen=True, slots=True)
class Mode:
    """A power mode. `watts` is the budget that it is named after; 0: without one."""

    name: str
    source: str
    watts: float = 0.0
    memory_bandwidth_gb_per_s: float = 0.0  # where memory is clocked down; 0: the datasheet's
    default: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """Tokens a second that somebody measured, one request at a time."""

    model: str
    tokens_per_s: float
    source: str
    format: str = ""
    engine: str = ""
    mode: str = ""
    watts: float = 0.0
    weight_bytes: float = 0.0

    def cost(self) -> Cost:
        return Cost(
            model=self.model,
            source=self.source,
            step_ms={1: 1000 / self.tokens_per_s},
            format=self.format,
            engine=self.engine,
            mode=self.mode,
            power=Power(self.watts) if self.watts else None,
            spread=_POINT_SPREAD,
            weight_bytes=self.weight_bytes,
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of device.

    Attributes:
        board: part of the board's model name, as `/proc/device-tree/model` has it.
        cuda_architecture: of its GPU, as CMake takes it.
        by_name: chosen by name alone: no machine is taken for it by itself.
        bandwidth_gb_per_s: measured: what one loop over memory reads; 0: not measured.
        idle_watts: measured; 0: not measured.
    """

    name: str
    source: str
    about: str = ""
    machine: str = ""
    board: str = ""
    cuda_architecture: str = ""
    by_name: bool = False
    num_cores: int = 0
    memory_gib: float = 0.0
    bandwidth_gb_per_s: float = 0.0
    idle_watts: float = 0.0
    datasheet: Datasheet | None = None
    modes: tuple[Mode, ...] = ()
    points: tuple[Point, ...] = ()
    costs: tuple[Cost, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)  # how it was measured, for people

    def __post_init__(self) -> None:
        if not self.source.strip():
            raise UsageError(f"profile {self.name} must say where its figures are from: source")

    def fits(self, machine: Machine) -> bool:
        """Is `machine` such a device? A board must match in name and, within 20 %, in memory."""
        if self.by_name or (self.machine and self.machine != machine.machine):
            return False
        if not self.board:
            return not machine.board
        near = abs(machine.memory_gib - self.memory_gib) <= 0.2 * self.memory_gib
        return self.board in machine.board and (not self.memory_gib or near)

    def mode(self, name: str) -> Mode | None:
        """A mode by name; "" is the default, None where the device has no modes."""
        if not self.modes and not name:
            return None
        for mode in self.modes:
            if mode.name == name or (not name and mode.default):
                return mode
        raise unknown(f"{self.name} has no power mode", name, [mode.name for mode in self.modes])

    def bandwidth(self, mode: Mode | None) -> float:
        """GB/s that the memory is made for in a mode; what was measured where that is all there is;
        0: not known."""
        if mode is not None and mode.memory_bandwidth_gb_per_s:
            return mode.memory_bandwidth_gb_per_s
        if self.datasheet is not None and self.datasheet.memory_bandwidth_gb_per_s:
            return self.datasheet.memory_bandwidth_gb_per_s
        return self.bandwidth_gb_per_s

    def measured(self, mode: Mode | None = None) -> tuple[Cost, ...]:
        """Costs and points of a mode, costs first."""
        found = (*self.costs, *(point.cost() for point in self.points))
        return tuple(cost for cost in found if mode is None or cost.mode in ("", mode.name))


def profile_names() -> list[str]:
    return sorted(path.stem for path in _profiles().glob("*.toml"))


def load_profile(name: str) -> Profile:
    """The profile of a file in `profiles/`, of a path to a `.toml`, or "here" for what `edgereason
    profile measure` has written on this machine."""
    if name == HERE:
        if not here_file().is_file():
            raise UsageError(
                "this machine has not been measured", "measure it with: edgereason profile measure"
            )
        return read_profile(here_file())
    if name.endswith(".toml"):
        return read_profile(Path(name))
    if name not in profile_names():
        raise unknown("no device profile called", name, [*profile_names(), HERE])
    return read_profile(_profiles() / f"{name}.toml")


def read_profile(path: Path) -> Profile:
    return build(Profile, {"name": path.stem, **load_toml(path)}, what="key", where=path.name)


def matching_profile(machine: Machine) -> Profile | None:
    """The profile that fits a machine, those of boards first; None when there is no such."""
    fitting = [profile for profile in map(load_profile, profile_names()) if profile.fits(machine)]
    return max(fitting, key=lambda profile: bool(profile.board), default=None)


HERE: Final = "here"
"""The name of this machine's own profile."""


def here_file() -> Path:
    return measured_dir() / f"{HERE}.toml"


def power_mode(root: Path = Path("/")) -> str:
    """The power mode that a Jetson is in, as `nvpmodel` names it, without `MODE_`; "" elsewhere."""
    try:
        status = (root / "var/lib/nvpmodel/status").read_text(encoding="utf-8", errors="replace")
        conf = (root / "etc/nvpmodel.conf").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    now = re.search(r"pmode:\s*(\d+)", status)
    names = {int(number): name for number, name in _POWER_MODEL.findall(conf)}
    return names.get(int(now[1]), "").removeprefix("MODE_") if now else ""


_POWER_MODEL: Final = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>")


def _profiles() -> Path:
    """Installed it lies inside the package, in the source tree beside it."""
    package = Path(__file__).parent.parent
    inside = package / "profiles"
    return inside if inside.is_dir() else package.parent / "profiles"


__all__ = [
    "HERE",
    "Datasheet",
    "Mode",
    "Point",
    "Profile",
    "here_file",
    "load_profile",
    "matching_profile",
    "power_mode",
    "profile_names",
    "read_profile",
]
