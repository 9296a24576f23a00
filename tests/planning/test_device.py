"""The machine as files say it is."""

from __future__ import annotations

from pathlib import Path

import psutil

from edgereason.planning import device


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
