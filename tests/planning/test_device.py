"""The machine as files say it is, and profiles of devices."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from edgereason.errors import UsageError
from edgereason.planning import device
from edgereason.planning.device import Cost, Machine, Profile, load_profile, matching_profile

ORIN = Machine(
    machine="aarch64",
    cpu="Cortex-A78AE",
    num_cores=12,
    memory_gib=61.4,  # what is left of 64 to the operating system
    available_gib=50.0,
    gpu="NVIDIA Tegra (integrated)",
    board="NVIDIA Jetson AGX Orin Developer Kit",
)
SERVER = Machine("x86_64", "EPYC", num_cores=2, memory_gib=23.5, available_gib=22.0)


def put(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_this_machine() -> None:
    machine = device.this_machine()
    assert 1 <= machine.num_cores <= (psutil.cpu_count() or 1)
    assert 0 < machine.available_gib <= machine.memory_gib
    assert machine.cpu
    assert device.memory_now().process_gib > 0.001


def test_a_machine_without_files_is_described_all_the_same(tmp_path: Path) -> None:
    machine = device.this_machine(tmp_path)
    assert (machine.gpu, machine.board) == ("", "")
    assert machine.memory_gib == psutil.virtual_memory().total / 2**30


def test_a_jetson(tmp_path: Path) -> None:
    put(tmp_path, "proc/device-tree/model", "NVIDIA Jetson AGX Orin Developer Kit\0")
    put(tmp_path, "etc/nv_tegra_release", "# R36 (release), REVISION: 4.0")
    put(tmp_path, "proc/cpuinfo", "processor\t: 0\nmodel name\t: ARMv8 Processor rev 1 (v8l)\n")
    machine = device.this_machine(tmp_path)
    assert machine.board == "NVIDIA Jetson AGX Orin Developer Kit"
    assert machine.gpu == "NVIDIA Tegra (integrated)"
    assert machine.cpu == "ARMv8 Processor rev 1 (v8l)"


def test_a_card(tmp_path: Path) -> None:
    put(
        tmp_path,
        "proc/driver/nvidia/gpus/0000:01:00.0/information",
        "Model: \t\t NVIDIA GeForce RTX 4060\nIRQ:   \t\t 0\n",
    )
    machine = device.this_machine(tmp_path)
    assert machine.gpu == "NVIDIA GeForce RTX 4060"


def test_the_limits_of_a_container_count(tmp_path: Path) -> None:
    mib = 2**20
    put(tmp_path, "sys/fs/cgroup/memory.max", f"{100 * mib}\n")
    put(tmp_path, "sys/fs/cgroup/memory.current", f"{60 * mib}\n")
    put(tmp_path, "sys/fs/cgroup/memory.stat", f"anon 5\ninactive_file {20 * mib}\n")
    put(tmp_path, "sys/fs/cgroup/cpu.max", "50000 100000\n")
    memory = device.memory_now(tmp_path)
    assert memory.total_gib == 100 / 1024
    assert memory.available_gib == 60 / 1024  # the file cache is given back when asked
    assert device.this_machine(tmp_path).num_cores == 1
    put(tmp_path, "sys/fs/cgroup/memory.max", "max\n")
    put(tmp_path, "sys/fs/cgroup/cpu.max", "max 100000\n")
    assert device.memory_now(tmp_path).total_gib == psutil.virtual_memory().total / 2**30
    assert device.this_machine(tmp_path).num_cores == device.this_machine().num_cores


def test_limits_of_version_1_and_of_groups_above(tmp_path: Path) -> None:
    """JetPack 5 has version 1. The tightest of all groups on the way up holds."""
    mib = 2**20
    put(tmp_path, "proc/self/cgroup", "4:cpu,cpuacct:/a/b\n9:memory:/a/b\n1:name=systemd:/x\n")
    put(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    put(tmp_path, "sys/fs/cgroup/memory/a/memory.limit_in_bytes", f"{100 * mib}\n")
    put(tmp_path, "sys/fs/cgroup/memory/a/memory.usage_in_bytes", f"{70 * mib}\n")
    put(
        tmp_path,
        "sys/fs/cgroup/memory/a/memory.stat",
        f"inactive_file 7\ntotal_inactive_file {20 * mib}\n",
    )
    put(tmp_path, "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", f"{200 * mib}\n")
    put(tmp_path, "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "100000\n")
    put(tmp_path, "sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n")
    put(tmp_path, "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n")
    memory = device.memory_now(tmp_path)
    assert (memory.total_gib, memory.available_gib) == (100 / 1024, 50 / 1024)
    assert device.num_cores(tmp_path) == 1


def test_nested_groups_of_version_2(tmp_path: Path) -> None:
    mib = 2**20
    put(tmp_path, "proc/self/cgroup", "0::/slice/unit\n")
    put(tmp_path, "sys/fs/cgroup/slice/memory.max", f"{100 * mib}\n")
    put(tmp_path, "sys/fs/cgroup/slice/memory.current", f"{90 * mib}\n")
    put(tmp_path, "sys/fs/cgroup/slice/unit/memory.max", f"{80 * mib}\n")
    put(tmp_path, "sys/fs/cgroup/slice/unit/memory.current", f"{10 * mib}\n")
    put(tmp_path, "sys/fs/cgroup/slice/unit/cpu.max", "max 100000\n")
    put(tmp_path, "sys/fs/cgroup/slice/cpu.max", "50000 100000\n")
    memory = device.memory_now(tmp_path)
    assert (memory.total_gib, memory.available_gib) == (80 / 1024, 10 / 1024)
    assert device.num_cores(tmp_path) == 1


def test_a_group_outside_of_what_is_seen_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, "proc/self/cgroup", "0::/../../elsewhere\nnonsense\n")
    put(tmp_path, "elsewhere/memory.max", "1\n")
    assert device.memory_now(tmp_path).total_gib == psutil.virtual_memory().total / 2**30


@pytest.mark.parametrize("name", device.profile_names())
def test_every_profile_is_whole(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name
    assert len(profile.source) > 20
    for cost in profile.costs:
        assert 0 < cost.decode_s_per_token < 1
        assert cost.prefill(1) < cost.prefill(500) < cost.prefill(5000)
        assert (
            cost.decode(100, 10) < cost.decode(1000, 10) or not cost.decode_s_per_token_and_context
        )


def test_which_profile_fits() -> None:
    found = {m.machine: matching_profile(m) for m in (ORIN, SERVER)}
    assert {key: profile and profile.name for key, profile in found.items()} == {
        "aarch64": "jetson-agx-orin-64gb",
        "x86_64": "generic-x86",
    }
    small = Machine("aarch64", "A78", 8, memory_gib=30.0, available_gib=9.0, board=ORIN.board)
    assert matching_profile(small) is None  # the 32 GB model of the board
    assert matching_profile(Machine("riscv64", "", 4, 4.0, 3.0)) is None


def test_decoding_on_the_orin_as_it_was_measured() -> None:
    """Figures of the paper's traces: fit and measurement differ by a few per cent."""
    costs = {
        cost.model.rpartition("-")[2]: cost for cost in load_profile("jetson-agx-orin-64gb").costs
    }
    assert costs["1.5B"].decode(128, 16) == pytest.approx(0.37, rel=0.05)
    assert costs["1.5B"].prefill(4097) == pytest.approx(0.65)
    assert costs["14B"].prefill(2561) == pytest.approx(4.64, rel=0.02)
    assert costs["8B"].decode(150, 128) == pytest.approx(128 * 0.1005, rel=0.01)


def test_the_prefill_fit_counts_whole_blocks() -> None:
    cost = Cost("m", prefill_s_per_token=1.0, decode_s_per_token=1.0, prefill_block_tokens=128)
    assert (cost.prefill(1), cost.prefill(128), cost.prefill(129)) == (128, 128, 256)


def test_energy_rises_from_idle() -> None:
    cost = load_profile("jetson-agx-orin-64gb").costs[0]
    assert cost.energy_joules(0) == 0
    assert cost.energy_joules(1) < cost.power_watts / 2  # still rising
    late = cost.energy_joules(101) - cost.energy_joules(100)
    assert late == pytest.approx(cost.power_watts, rel=1e-3)
    assert Cost("m", 1.0, 1.0).energy_joules(5) == 0


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
