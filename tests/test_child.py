"""Children run what is installed, not what lies in the folder they are started in, and end with
their parent."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from edgereason import child
from edgereason.models import fetch
from support.places import ROOT
from support.tiny_models import write_vocab

ATTACK = "open({mark!r}, 'w').close()\nraise SystemExit(66)\n"


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Works in a folder in which modules lie that a child might import; `ran` tells that it did."""
    mark = tmp_path / "ran"
    names = ("ctypes", "json", "edgereason", "pip", "llama_cpp", "runpy", "threading", "numpy")
    for name in names:
        package = tmp_path / "trap" / name
        package.mkdir(parents=True)
        for file in ("__init__.py", "__main__.py"):
            (package / file).write_text(ATTACK.format(mark=str(mark)))
    monkeypatch.chdir(tmp_path / "trap")
    return mark


def test_a_module_comes_from_what_is_installed(trap: Path) -> None:
    done = subprocess.run(
        child.command("edgereason", "--version"), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout[:10]) == (0, "edgereason"), done.stderr
    assert not trap.exists()
    exposed = subprocess.run([sys.executable, "-m", "pip", "--version"], check=False)
    assert (exposed.returncode, trap.exists()) == (66, True)  # the trap is one


def test_pip_is_the_real_one(trap: Path, tmp_path: Path) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    with pytest.raises(fetch.DownloadError, match="pip could not fetch nothing@@"):
        fetch._pip_download("nothing@@", downloads, 1, lambda done, total: None)
    assert not trap.exists()


def test_libllama_is_the_real_one(trap: Path, tmp_path: Path) -> None:
    from edgereason.export.libllama import tokenize

    model = write_vocab(tmp_path / "tiny.gguf")
    assert tokenize(model, ["hello"])
    assert not trap.exists()


@pytest.mark.parametrize("outlives", [False, True])
def test_a_child_ends_with_its_parent(outlives: bool) -> None:
    program = f"""
import subprocess, sys, time
from edgereason import child
command = child.command("http.server", "0", "--bind", "127.0.0.1", outlives={outlives})
quiet = subprocess.DEVNULL
print(subprocess.Popen(command, stdout=quiet, stderr=quiet).pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(1)  # it has started
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    until = time.monotonic() + (1 if outlives else 10)
    while psutil.pid_exists(pid) and time.monotonic() < until:
        time.sleep(0.05)
    left = psutil.pid_exists(pid)
    if left:
        psutil.Process(pid).kill()
    assert left is outlives


def test_no_child_is_started_in_another_way() -> None:
    folders = (ROOT / "edgereason", ROOT / "export", ROOT / "bench")
    plain = re.compile(r"sys\.executable,\s*\"-(?!I)")
    found = [p.name for f in folders for p in f.rglob("*.py") if plain.search(p.read_text())]
    assert found == ["child.py"]
