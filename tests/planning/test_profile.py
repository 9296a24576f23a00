"""Profiles of devices: data that is whole, and finding the one that fits."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgereason.cli.profile.measure import to_toml
from edgereason.errors import UsageError
from edgereason.planning.cost import Cost, Power, Prefill
from edgereason.planning.device import Machine
from edgereason.planning.profile import (
    HERE,
    Point,
    Profile,
    load_profile,
    matching_profile,
    power_mode,
    profile_names,
    read_profile,
)

ORIN = Machine(
    machine="aarch64",
    cpu="Cortex-A78AE",
    num_cores=12,
    memory_gib=61.4,  # what is left of 64 to the operating system
    available_gib=50.0,
    gpu="NVIDIA Tegra (integrated)",
    board="NVIDIA Jetson AGX Orin Developer Kit",
)


def board(name: str, memory_gib: float) -> Machine:
    return Machine("aarch64", "", 6, memory_gib, memory_gib, board=name)


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_whole_and_every_figure_has_a_source(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert profile.about
    told = [profile.source, *(each.source for each in (*profile.modes, *profile.points))]
    told += [each.source for each in profile.costs]
    told += [profile.datasheet.source] if profile.datasheet else []
    assert all(len(source) > 10 for source in told)
    assert profile.bandwidth(None) > 1
    assert sum(mode.default for mode in profile.modes) == bool(profile.modes)
    for mode in profile.modes:
        assert 1 < profile.bandwidth(mode) <= profile.bandwidth(None) or not profile.datasheet
        assert profile.mode(mode.name) is mode
    for cost in profile.measured():
        assert cost.mode in ("", *(mode.name for mode in profile.modes))
        assert 0 < cost.step_ms[1] < 1000
        # No device reads more than its memory gives.
        if cost.weight_bytes:
            assert cost.weight_bytes / cost.step_ms[1] / 1e6 < profile.bandwidth(None)


def test_the_boards_that_matter_are_there() -> None:
    names = set(profile_names())
    assert {
        *("jetson-orin-nano-8gb", "jetson-orin-nano-super-8gb", "jetson-orin-nx-8gb"),
        *("jetson-orin-nx-16gb", "jetson-agx-orin-32gb", "jetson-agx-orin-64gb"),
        *("jetson-agx-thor", "jetson-xavier-nx", "raspberry-pi-5", "generic-x86"),
    } <= names
    assert any(name.startswith("laptop") for name in names)


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        (ORIN, "jetson-agx-orin-64gb"),
        (board("NVIDIA Jetson AGX Orin Developer Kit", 29.9), "jetson-agx-orin-32gb"),
        (board("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", 7.4),
         "jetson-orin-nano-super-8gb"),
        (board("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", 15.3),
         "jetson-orin-nx-16gb"),
        (board("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", 7.3),
         "jetson-orin-nx-8gb"),
        (board("NVIDIA Jetson AGX Thor Developer Kit", 122.0), "jetson-agx-thor"),
        (board("Raspberry Pi 5 Model B Rev 1.0", 7.9), "raspberry-pi-5"),
        (Machine("x86_64", "EPYC", 2, 23.5, 22.0), "generic-x86"),
        (board("Banana Pi", 7.9), None),
        (Machine("riscv64", "", 4, 4.0, 3.0), None),
    ],
)  # fmt: skip
def test_which_profile_fits(machine: Machine, name: str | None) -> None:
    found = matching_profile(machine)
    assert (found and found.name) == name


def test_a_power_mode_and_its_bandwidth() -> None:
    nano = load_profile("jetson-orin-nano-super-8gb")
    assert nano.bandwidth(nano.mode("15W")) == 68.3
    assert nano.bandwidth(nano.mode("")) == 102.4  # 25 W is the default
    with pytest.raises(UsageError, match="has no power mode '26W'") as raised:
        nano.mode("26W")
    assert "25W" in raised.value.hint
    assert load_profile("generic-x86").mode("") is None


def test_the_mode_that_a_jetson_is_in(tmp_path: Path) -> None:
    assert power_mode(tmp_path) == ""
    (tmp_path / "var/lib/nvpmodel").mkdir(parents=True)
    (tmp_path / "var/lib/nvpmodel/status").write_text("pmode:0001 fmode:quiet\n")
    assert power_mode(tmp_path) == ""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nvpmodel.conf").write_text(
        "< PARAM TYPE=FILE NAME=CPU_ONLINE >\nCORE_0 /sys/x\n"
        "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n"
        "< POWER_MODEL ID=1 NAME=MODE_25W >\nEMC MAX_FREQ 3199000000\n"
    )
    assert power_mode(tmp_path) == "25W"


def test_a_point_is_a_cost_of_a_step() -> None:
    cost = Point("m", 40.0, "somebody's bench", watts=10.0).cost()
    assert cost.step_ms == {1: 25.0}
    assert cost.power == Power(10.0)
    assert not cost.knows_prompts


def test_a_profile_needs_a_source(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('source = " "\n')
    with pytest.raises(UsageError, match="profile mine must say where its figures are from"):
        load_profile(str(path))
    path.write_text("about = 'x'\n")
    with pytest.raises(UsageError, match=r"key mine\.toml\.source must be given"):
        load_profile(str(path))
    path.write_text('source = "measured here"\nnum_cors = 4\n')
    with pytest.raises(UsageError, match="unknown key") as raised:
        load_profile(str(path))
    assert "num_cores" in raised.value.hint
    path.write_text('source = "measured here"\n')
    assert load_profile(str(path)) == Profile("mine", "measured here")


def test_an_unknown_profile_has_a_suggestion() -> None:
    with pytest.raises(UsageError, match="no device profile called 'generic-x68'") as raised:
        load_profile("generic-x68")
    assert "did you mean 'generic-x86'" in raised.value.hint


def test_a_machine_that_was_not_measured_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEREASON_MEASURED", str(tmp_path))
    with pytest.raises(UsageError, match="this machine has not been measured") as raised:
        load_profile(HERE)
    assert "edgereason profile measure" in raised.value.hint


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    cost = Cost(
        model='a "quoted" name',
        source="measured",
        step_ms={1: 7.5, 512: 900.25},
        cell_ms=0.000125,
        power=Power(12.5, idle_watts=5.0),
        prefill=Prefill(base_ms=1.5, tile_ms={64: 0.25}, chunk_tokens=2048),
    )
    profile = Profile(
        "mine", "measured", num_cores=4, bandwidth_gb_per_s=20.5, costs=(cost,), facts={"a": "b"}
    )
    path = tmp_path / "mine.toml"
    path.write_text(to_toml(profile))
    assert read_profile(path) == profile
