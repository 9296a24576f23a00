"""What tells how much power a machine takes, as the system shows it: one class a kind of meter.

    found = find()
    found.sources, found.notes          # what can be read; why something cannot

Read from files of the system (a fake tree serves in tests), and from NVML where `pynvml` is
installed. A source gives watts by rail, or joules so far; what cannot be read is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

Readings = Mapping[str, float]


class Source(Protocol):
    """A meter. `is_counter`: it tells joules so far, which it counts by itself, not watts now.

    Attributes:
        scope: what of the machine it sees.
        total: the rail that holds all others; "" where they have to be added up.
        period_s: what it makes no sense to read it more often than.
    """

    @property
    def name(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def total(self) -> str: ...
    @property
    def is_counter(self) -> bool: ...
    @property
    def period_s(self) -> float: ...

    def read(self) -> Readings:
        """By rail. A rail that cannot be read now is missing."""


@dataclass(frozen=True, slots=True)
class Found:
    sources: tuple[Source, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Rail:
    """Files whose product is watts."""

    name: str
    factors: tuple[tuple[Path, float], ...]

    def watts(self) -> float:
        watts = 1.0
        for path, scale in self.factors:
            watts *= int(path.read_text()) * scale
        return watts


@dataclass(frozen=True, slots=True)
class Rails:
    """Shunts read through hwmon or iio, or a battery: watts at this moment."""

    name: str
    scope: str
    rails: tuple[_Rail, ...]
    total: str = ""
    period_s: float = 0.02
    is_counter: bool = False

    def read(self) -> Readings:
        found = {}
        for rail in self.rails:
            with contextlib.suppress(OSError, ValueError):  # busy, or gone for a moment
                found[rail.name] = rail.watts()
        return found


# Rails that hold all others of their board, the best first.
_TOTALS: Final = ("VIN", "POM_5V_IN", "VDD_IN")
_I2C: Final = "sys/bus/i2c/drivers"


def jetson(root: Path) -> Rails | None:
    """INA3221 by hwmon (JetPack 5 and newer) or iio (4), and INA238 on the carrier of Thor, which
    sees the whole board: the module's rails are inside it and not added."""
    board = [
        _Rail("VIN", ((folder / "power1_input", 1e-6),))
        for folder in sorted((root / _I2C).glob("ina238/*/hwmon/hwmon*"))
        if (folder / "power1_input").is_file()
    ]
    module = [*_hwmon(root), *_iio(root)]
    if not board and not module:
        return None
    rails = (*board, *module)
    names = {rail.name for rail in rails}
    total = next((name for name in _TOTALS if name in names), "")
    scope = "board" if total in ("VIN", "POM_5V_IN") else "module" if total else "rails"
    return Rails("ina238" if board else "ina3221", scope, rails, total)


def _hwmon(root: Path) -> Iterator[_Rail]:
    for folder in sorted((root / _I2C).glob("ina3221/*/hwmon/hwmon*")):
        for channel in (1, 2, 3):  # in7 is the sum of the shunts, in volts
            label = _text(folder / f"in{channel}_label")
            volts, amperes = folder / f"in{channel}_input", folder / f"curr{channel}_input"
            if label and label != "NC" and volts.is_file() and amperes.is_file():
                yield _Rail(label, ((volts, 1e-3), (amperes, 1e-3)))


def _iio(root: Path) -> Iterator[_Rail]:
    for folder in sorted((root / _I2C).glob("ina3221x/*/iio:device*")):
        for channel in (0, 1, 2):
            label = _text(folder / f"rail_name_{channel}")
            power = folder / f"in_power{channel}_input"
            if label and label != "NC" and power.is_file():
                yield _Rail(label, ((power, 1e-3),))


class Rapl:
    """Intel's energy counters, also of AMD's Zen: one zone a package, one for memory where there
    is. They count in microjoules and wrap; what they wrapped is added."""

    name, scope, is_counter, period_s = "rapl", "package", True, 0.005

    def __init__(self, zones: Mapping[str, Path]) -> None:
        self._zones = zones
        self._last: dict[str, int] = {}
        self._wrapped: dict[str, int] = dict.fromkeys(zones, 0)
        self.total = "psys" if "psys" in zones else ""
        if self.total:
            self.scope = "machine"

    def read(self) -> Readings:
        found = {}
        for name, zone in self._zones.items():
            with contextlib.suppress(OSError, ValueError):
                now = int((zone / "energy_uj").read_text())
                if now < self._last.get(name, 0):
                    self._wrapped[name] += int((zone / "max_energy_range_uj").read_text())
                self._last[name] = now
                found[name] = (now + self._wrapped[name]) * 1e-6
        return found


def rapl(root: Path) -> tuple[Rapl | None, str]:
    """The counters, and why there are none."""
    zones: dict[str, Path] = {}
    locked = False
    for zone in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        name = _text(zone / "name")
        # Cores and graphics are inside their package; memory is not.
        if not (name.startswith("package") or name in ("dram", "psys")):
            continue
        try:
            int((zone / "energy_uj").read_text())
        except PermissionError:
            locked = True
            continue
        except (OSError, ValueError):
            continue
        zones[name if name not in zones else f"{name}-{zone.name}"] = zone
    note = (
        "RAPL's counters may be read by root only: sudo chmod a+r /sys/class/powercap/*/energy_uj"
    )
    return (Rapl(zones) if zones else None), (note if locked else "")


class Nvml:
    """Discrete NVIDIA GPUs: their own counters. A Jetson's has none."""

    name, scope, total, is_counter, period_s = "nvml", "GPU", "", True, 0.02

    def __init__(self, nvml: Any, handles: Sequence[Any]) -> None:
        self._nvml, self._handles = nvml, handles

    def read(self) -> Readings:
        found = {}
        for index, handle in enumerate(self._handles):
            with contextlib.suppress(self._nvml.NVMLError):
                millijoules = self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
                found[f"gpu{index}"] = millijoules * 1e-3
        return found


def nvml() -> tuple[Nvml | None, str]:
    try:
        import pynvml
    except ImportError:
        return None, "a GPU's meter needs nvidia-ml-py: pip install nvidia-ml-py"
    try:
        pynvml.nvmlInit()
        num = pynvml.nvmlDeviceGetCount()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(num)]
    except pynvml.NVMLError as error:
        return None, f"NVML cannot be used: {error}"
    made = Nvml(pynvml, handles)
    return (made, "") if made.read() else (None, "the GPU has no energy counter")


def battery(root: Path) -> tuple[Rails | None, str]:
    """The machine's power while it runs on batteries; one that is charged tells another."""
    rails = []
    for folder in sorted((root / "sys/class/power_supply").glob("*")):
        if _text(folder / "type") != "Battery":
            continue
        if _text(folder / "status") != "Discharging":
            return None, f"{folder.name} is not discharging, so it does not tell what is taken"
        if (folder / "power_now").is_file():
            rails.append(_Rail(folder.name, ((folder / "power_now", 1e-6),)))
        elif (folder / "current_now").is_file() and (folder / "voltage_now").is_file():
            parts = ((folder / "voltage_now", 1e-6), (folder / "current_now", 1e-6))
            rails.append(_Rail(folder.name, parts))
    if not rails:
        return None, ""
    return Rails("battery", "machine, seconds late", tuple(rails), period_s=0.5), ""


def find(root: Path = Path("/")) -> Found:
    """The best there is: a board's shunts, else counters of processor and GPU, else a battery."""
    shunts = jetson(root)
    if shunts is not None and shunts.read():
        return Found((shunts,))
    counters, why_no_rapl = rapl(root)
    gpus, why_no_gpu = nvml() if (root / "proc/driver/nvidia/gpus").is_dir() else (None, "")
    sources: tuple[Source, ...] = tuple(filter(None, (counters, gpus)))
    notes = tuple(filter(None, (why_no_rapl, why_no_gpu)))
    if sources:
        return Found(sources, notes)
    cells, why_no_battery = battery(root)
    notes = (*notes, *filter(None, (why_no_battery,)))
    return Found((cells,) if cells is not None else (), notes)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


__all__ = ["Found", "Nvml", "Rails", "Rapl", "Source", "battery", "find", "jetson", "nvml", "rapl"]
