"""Meters as the files of boards show them, on trees that are made as those boards have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgereason.planning import meters
from edgereason.planning.meters import Rapl, battery, find, jetson, rapl


def put(root: Path, files: dict[str, object]) -> None:
    for name, value in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{value}\n")


def hwmon(root: Path, address: str, channels: dict[int, tuple[str, int, int]]) -> None:
    folder = f"sys/bus/i2c/drivers/ina3221/{address}/hwmon/hwmon3"
    for number, (label, millivolts, milliamperes) in channels.items():
        put(
            root,
            {
                f"{folder}/in{number}_label": label,
                f"{folder}/in{number}_input": millivolts,
                f"{folder}/curr{number}_input": milliamperes,
            },
        )
    put(root, {f"{folder}/in7_label": "sum of shunt voltages", f"{folder}/in7_input": 12})


def orin_nano(root: Path) -> None:
    rails = {1: ("VDD_IN", 5000, 1080), 2: ("VDD_CPU_GPU_CV", 5000, 300), 3: ("VDD_SOC", 5000, 400)}
    hwmon(root, "1-0040", rails)


def agx_orin(root: Path) -> None:
    hwmon(root, "1-0040", {1: ("VDD_GPU_SOC", 19000, 200), 2: ("VDD_CPU_CV", 19000, 50),
                           3: ("VIN_SYS_5V0", 5000, 900)})  # fmt: skip
    hwmon(root, "1-0041", {1: ("NC", 0, 0), 2: ("VDDQ_VDD2_1V8AO", 5000, 100), 3: ("NC", 0, 0)})


def thor(root: Path) -> None:
    hwmon(root, "2-0040", {1: ("VDD_GPU", 12000, 1000), 2: ("VDD_CPU_SOC_MSS", 12000, 500)})
    folder = "sys/bus/i2c/drivers/ina238/2-0044/hwmon/hwmon4"
    put(root, {f"{folder}/in1_input": 19800, f"{folder}/curr1_input": 2020,
               f"{folder}/power1_input": 40_000_000})  # fmt: skip


def xavier_nx(root: Path) -> None:
    """JetPack 4: industrial I/O instead of hwmon."""
    folder = "sys/bus/i2c/drivers/ina3221x/7-0040/iio:device0"
    for number, label, milliwatts in (
        (0, "VDD_IN", 5400),
        (1, "VDD_CPU_GPU_CV", 1500),
        (2, "NC", 0),
    ):
        put(root, {f"{folder}/rail_name_{number}": label,
                   f"{folder}/in_power{number}_input": milliwatts})  # fmt: skip


@pytest.mark.parametrize(
    ("board", "told", "readings"),
    [
        (orin_nano, ("ina3221", "module", "VDD_IN"),
         {"VDD_IN": 5.4, "VDD_CPU_GPU_CV": 1.5, "VDD_SOC": 2.0}),
        (agx_orin, ("ina3221", "rails", ""),
         {"VDD_GPU_SOC": 3.8, "VDD_CPU_CV": 0.95, "VIN_SYS_5V0": 4.5, "VDDQ_VDD2_1V8AO": 0.5}),
        (thor, ("ina238", "board", "VIN"), {"VIN": 40.0, "VDD_GPU": 12.0, "VDD_CPU_SOC_MSS": 6.0}),
        (xavier_nx, ("ina3221", "module", "VDD_IN"), {"VDD_IN": 5.4, "VDD_CPU_GPU_CV": 1.5}),
    ],
)  # fmt: skip
def test_boards(
    tmp_path: Path, board: Any, told: tuple[str, str, str], readings: dict[str, float]
) -> None:
    board(tmp_path)
    (found,) = find(tmp_path).sources
    assert (found.name, found.scope, found.total) == told
    assert found.read() == pytest.approx(readings)
    assert not found.is_counter


def test_a_rail_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    orin_nano(tmp_path)
    found = jetson(tmp_path)
    assert found is not None
    put(tmp_path, {"sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr2_input": "busy"})
    assert set(found.read()) == {"VDD_IN", "VDD_SOC"}


def zone(root: Path, name: str, label: str, microjoules: int, most: int = 262_143_328_850) -> Path:
    folder = f"sys/class/powercap/{name}"
    put(root, {f"{folder}/name": label, f"{folder}/energy_uj": microjoules,
               f"{folder}/max_energy_range_uj": most})  # fmt: skip
    return root / folder / "energy_uj"


def test_the_counters_of_a_processor_wrap(tmp_path: Path) -> None:
    package = zone(tmp_path, "intel-rapl:0", "package-0", 900, most=1000)
    zone(tmp_path, "intel-rapl:0:0", "core", 500)  # inside its package
    zone(tmp_path, "intel-rapl:0:1", "dram", 5_000_000)
    (found,) = find(tmp_path).sources
    assert found.is_counter
    assert found.read() == pytest.approx({"package-0": 900e-6, "dram": 5.0})
    package.write_text("100\n")  # it went beyond 1000
    assert found.read()["package-0"] == pytest.approx(1100e-6)
    package.write_text("200\n")
    assert found.read()["package-0"] == pytest.approx(1200e-6)


def test_a_counter_of_the_whole_machine_comes_first(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 900)
    zone(tmp_path, "intel-rapl:1", "psys", 1900)
    found, _ = rapl(tmp_path)
    assert found is not None
    assert (found.total, found.scope) == ("psys", "machine")


def test_counters_that_root_alone_may_read_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 900)
    usual = Path.read_text

    def locked(path: Path, *args: Any, **more: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return usual(path, *args, **more)

    monkeypatch.setattr(Path, "read_text", locked)
    found = find(tmp_path)
    assert found.sources == ()
    assert "root only" in found.notes[0]


def test_a_battery_tells_only_while_it_is_used(tmp_path: Path) -> None:
    folder = "sys/class/power_supply/BAT0"
    put(tmp_path, {f"{folder}/type": "Battery", f"{folder}/status": "Charging",
                   f"{folder}/power_now": 12_500_000})  # fmt: skip
    found = find(tmp_path)
    assert found.sources == ()
    assert "BAT0 is not discharging" in found.notes[0]
    put(tmp_path, {f"{folder}/status": "Discharging"})
    cells, _ = battery(tmp_path)
    assert cells is not None
    assert cells.read() == pytest.approx({"BAT0": 12.5})


def test_a_battery_that_tells_volts_and_amperes(tmp_path: Path) -> None:
    folder = "sys/class/power_supply/BAT1"
    put(tmp_path, {f"{folder}/type": "Battery", f"{folder}/status": "Discharging",
                   f"{folder}/voltage_now": 12_000_000,
                   f"{folder}/current_now": 1_500_000})  # fmt: skip
    cells, _ = battery(tmp_path)
    assert cells is not None
    assert cells.read() == pytest.approx({"BAT1": 18.0})


class FakeNvml:
    """What is used of NVML. `num` GPUs, each with a counter."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, works: bool = True, counts: bool = True) -> None:
        self.works, self.counts = works, counts

    def nvmlInit(self) -> None:
        if not self.works:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        if not self.counts:
            raise self.NVMLError("Not Supported")
        return 1500 * (handle + 1)


@pytest.mark.parametrize(
    ("fake", "readings", "note"),
    [
        (FakeNvml(), {"gpu0": 1.5, "gpu1": 3.0}, ""),
        (FakeNvml(works=False), None, "Driver Not Loaded"),
        (FakeNvml(counts=False), None, "no energy counter"),
    ],
)
def test_gpus(
    monkeypatch: pytest.MonkeyPatch,
    fake: FakeNvml,
    readings: dict[str, float] | None,
    note: str,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", fake)
    found, why_not = meters.nvml()
    assert (found and found.read()) == (readings and pytest.approx(readings))
    assert note in why_not


def test_a_machine_without_meters(tmp_path: Path) -> None:
    assert find(tmp_path) == meters.Found(())


def test_boards_come_before_counters(tmp_path: Path) -> None:
    orin_nano(tmp_path)
    zone(tmp_path, "intel-rapl:0", "package-0", 900)
    assert [source.name for source in find(tmp_path).sources] == ["ina3221"]
    assert isinstance(rapl(tmp_path)[0], Rapl)
