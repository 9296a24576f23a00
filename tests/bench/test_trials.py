"""The file of trials: what is in it after a kill, a second writer, a line of somebody else's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgereason.bench.harness import trials
from edgereason.bench.harness.frame import read_frame
from edgereason.bench.harness.trials import Store, Trial
from edgereason.errors import UsageError


def trial(question: str = "q1", **changed: object) -> Trial:
    made = Trial(
        suite="pareto", device="here", config="c1", model="m", quant="q4", engine="llamacpp",
        way="think", answer_limit=8, temperature=0.0, threads=1, context=512,
        think_limit=-1, task="t",
        question=question, seed=0, answer="ä 51", right=True, finish="stop", total_ms=12.5,
    )  # fmt: skip
    return replace(made, **changed)  # type: ignore[arg-type]  # any field


def test_what_was_appended_is_there_once(tmp_path: Path) -> None:
    with Store.open(tmp_path, "here") as store:
        store.append(trial("q1"))
        store.append(trial("q1", answer="another"))
        store.append(trial("q2", joules=None))
        assert trial("q1").key in store
        assert trial("q3").key not in store
    assert [(each.question, each.answer) for each in trials.read(tmp_path)] == [
        ("q1", "ä 51"),
        ("q2", "ä 51"),
    ]
    with Store.open(tmp_path, "here") as store:
        assert len(store) == 2
        assert store.torn == 0


@pytest.mark.parametrize("left", [1, 40])
def test_a_torn_last_line_is_cut_off_and_asked_again(tmp_path: Path, left: int) -> None:
    with Store.open(tmp_path, "here") as store:
        store.append(trial("q1"))
        store.append(trial("q2"))
    path = tmp_path / "trials-here.jsonl"
    whole = path.read_bytes()
    second = whole.splitlines(keepends=True)[1]
    path.write_bytes(whole[: -len(second) + left])
    assert len(trials.read(tmp_path)) == 1  # also while it is being written
    assert len(read_frame(tmp_path)) == 1
    with Store.open(tmp_path, "here") as store:
        assert store.torn == left
        assert trial("q2").key not in store
        store.append(trial("q2"))
    assert path.read_bytes() == whole


def test_a_file_of_one_torn_line_is_empty(tmp_path: Path) -> None:
    (tmp_path / "trials-here.jsonl").write_text('{"suite": "par')
    with Store.open(tmp_path, "here") as store:
        assert store.torn == 14
        assert len(store) == 0


def test_kill_9_leaves_whole_lines(tmp_path: Path) -> None:
    """A child appends as fast as it can and is killed in the middle."""
    code = (
        "import sys; from pathlib import Path; from dataclasses import replace\n"
        "from edgereason.bench.harness.trials import Store, Trial\n"
        f"made = {trial()!r}\n"
        "store = Store.open(Path(sys.argv[1]), 'here')\n"
        "for i in range(10**6):\n"
        "    store.append(replace(made, question=f'k{i}')); print(i, flush=True)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) == 20:
            child.send_signal(signal.SIGKILL)
            break
    told = [int(line) for line in child.stdout]
    child.wait()
    child.stdout.close()
    num_told = (told[-1] if told else 20) + 1
    with Store.open(tmp_path, "here") as store:
        assert len(store) >= num_told  # what was said to be there is there
        for i in range(num_told):
            assert trial(f"k{i}").key in store


def test_two_writers_of_one_file_are_one_too_many(tmp_path: Path) -> None:
    with Store.open(tmp_path, "here"):
        with pytest.raises(UsageError, match=r"another run writes .*trials-here"):
            Store.open(tmp_path, "here")
        with Store.open(tmp_path, "there") as other:
            other.append(trial(device="there"))
    assert [each.device for each in trials.read(tmp_path)] == ["there"]


def test_a_line_that_is_no_trial_is_refused_with_its_place(tmp_path: Path) -> None:
    with Store.open(tmp_path, "here") as store:
        store.append(trial())
    path = tmp_path / "trials-here.jsonl"
    path.write_text(path.read_text() + json.dumps({"hello": 1}) + "\n")
    with pytest.raises(UsageError, match="line 2: not a trial"):
        trials.read(tmp_path)
    with pytest.raises(UsageError, match="line 2: not a trial"):
        Store.open(tmp_path, "here")


@pytest.mark.parametrize("device", ["", "a/b"])
def test_a_device_is_a_name(tmp_path: Path, device: str) -> None:
    with pytest.raises(UsageError, match="a device is a name"):
        Store.open(tmp_path, device)


def test_the_table_has_the_schema_of_a_trial(tmp_path: Path) -> None:
    """A column that is empty at first, as joules before a meter is plugged in, takes numbers."""
    for device in ("here", "there"):
        with Store.open(tmp_path, device) as store:
            for i in range(200):
                joules = None if i < 199 else 3
                store.append(trial(f"q{i}", device=device, joules=joules, total_ms=i))
    frame = read_frame(tmp_path)
    assert frame.columns == list(Trial.__slots__)
    assert len(frame) == 400
    assert frame["joules"].sum() == 6
    assert frame["right"].dtype == bool or str(frame["right"].dtype) == "Boolean"
    assert frame.to_dicts()[0] | {"total_ms": 0.0} == frame.to_dicts()[0]


def test_a_folder_without_trials_says_what_writes_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no trials in"):
        read_frame(tmp_path)
