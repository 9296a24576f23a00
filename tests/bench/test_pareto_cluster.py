"""A sweep on the devices of a real Ray cluster, several nodes on this machine: one is killed in the
middle and comes back, and nothing is lost."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edgereason.bench.harness import trials
from edgereason.bench.harness.trials import Trial

WAYS = ("think:30", "think:10", "no-think")
NUM = 30


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without work, and devices `a` and `b`. The programs that a test starts find it."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'edgereason[cluster]'")
    from ray.cluster_utils import Cluster  # type: ignore[import-untyped,unused-ignore]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # see docs/pareto.md
        made = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, **free_ports()},
        )
        try:
            made.nodes = {name: add(made, name) for name in ("a", "b")}
            made.wait_for_nodes()
            yield made
        finally:
            made.shutdown()


def add(cluster: Any, name: str) -> Any:
    return cluster.add_node(num_cpus=1, resources={f"device:{name}": 1}, **free_ports())


def free_ports() -> dict[str, int]:
    """Given to Ray: it waits 15 s for ports that its helpers choose, too few on a full machine."""
    names = ("metrics_agent_port", "runtime_env_agent_port", "dashboard_agent_listen_port")
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in names]
        for each in opened:
            each.bind(("127.0.0.1", 0))
        return dict(zip(names, [each.getsockname()[1] for each in opened], strict=True))


def command(folder: Path, hosts: str) -> list[str]:
    task = folder / "t.jsonl"
    rows = ({"question": f"What is {i} + 2?", "answer": str(i + 2)} for i in range(NUM))
    task.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        sys.executable, "-m", "edgereason", "bench", "pareto", "--models", "nano",
        "--ways", ",".join(WAYS), "--tasks", str(task), "--questions", "0", "--threads", "1",
        "--check", "0", "--hosts", hosts, "--out", str(folder / "out"),
    ]  # fmt: skip


def environment(cluster: Any) -> dict[str, str]:
    return {**os.environ, "RAY_ADDRESS": cluster.address}


def of(folder: Path, device: str) -> list[Trial]:
    return [each for each in trials.read(folder / "out") if each.device == device]


def until(true: Callable[[], bool], child: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not true():
        assert child.poll() is None, "the sweep ended too early"
        assert time.monotonic() < end, "waited for too long"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_a_device_that_dies_and_comes_back_loses_nothing(cluster: Any, tmp_path: Path) -> None:
    said = tmp_path / "said"
    with said.open("w") as file:
        child = subprocess.Popen(
            command(tmp_path, "a,b"), env=environment(cluster), text=True, stderr=file, stdout=file
        )
        try:
            until(lambda: len(of(tmp_path, "b")) >= 6, child)
            cluster.remove_node(cluster.nodes["b"], allow_graceful=False)
            until(lambda: "b is away" in said.read_text(), child)
            before = of(tmp_path, "b")
            assert len(before) < NUM * len(WAYS)
            cluster.nodes["b"] = add(cluster, "b")
            assert child.wait(400) == 0, said.read_text()
        finally:
            child.kill()
            child.wait()
    assert "b is back" in said.read_text()
    found = {device: of(tmp_path, device) for device in ("a", "b")}
    assert found["b"][: len(before)] == before
    for own in found.values():
        places = [(each.way, each.question) for each in own]
        assert len(places) == len(set(places)) == NUM * len(WAYS)
    answers = [{(e.way, e.question): e.answer for e in own} for own in found.values()]
    assert answers[0] == answers[1]  # the same work, whichever device did it
    for device, own in found.items():
        lines = (tmp_path / "out" / f"trials-{device}.jsonl").read_text().splitlines()
        assert len(lines) == len(own)  # nothing was written twice
        kept = json.loads((tmp_path / "out" / f"sweep-{device}.json").read_text())
        assert kept["machine"]["num_cores"] > 0
    report = (tmp_path / "out" / "report.md").read_text()
    assert "a" in report
    assert "b" in report


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_device_that_nobody_has_is_refused(cluster: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path, "a,c"), env=environment(cluster), capture_output=True, text=True,
        timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no device of this cluster is called c; there are: a, b" in done.stderr
    assert of(tmp_path, "a") == []
