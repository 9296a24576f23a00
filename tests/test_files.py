"""Names that are no files, and links that somebody planted: told at once, and never followed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from edgereason import files
from edgereason.cli import main
from edgereason.errors import BundleError, UsageError
from edgereason.models import hub
from edgereason.models.bundle import MANIFEST, open_bundle
from edgereason.models.safetensors import read_table
from support.places import SCRIPTED

PRECIOUS = b"what must not be touched"


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe.gguf")
    return tmp_path / "pipe.gguf"


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    folder = tmp_path / "precious"
    folder.mkdir()
    (folder / "file").write_bytes(PRECIOUS)
    return folder


@pytest.mark.timeout(20)
@pytest.mark.parametrize("read", [files.reading, files.read_bytes, files.read_text, files.locking])
def test_only_files_are_opened(read: Callable[[Path], object], pipe: Path) -> None:
    with pytest.raises(OSError, match="a pipe, not a file"):
        read(pipe)
    with pytest.raises(OSError, match=r"a device, not a file|Permission"):
        read(Path("/dev/zero"))


def test_no_more_is_read_than_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_BYTES", 1 << 20)
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(OSError, match="more than 1 MiB"):
        files.read_bytes(big)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "holds a list"),
        ("{", "line 1"),
        ('{"a": "\\ud800"}', "surrogates"),
        ('{"a":' * 100_000, "nested|recursion"),
        ('{"a": ' + "9" * 5000 + "}", "digits"),
    ],
)
def test_json_is_one_object_of_texts(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        files.parse_json(text)


def test_what_is_written_replaces_a_link(tmp_path: Path, precious: Path) -> None:
    for name, target in (("a", precious / "file"), ("b", precious), ("c", tmp_path / "no")):
        link = tmp_path / name
        link.symlink_to(target)
        with files.writing(link) as file:
            file.write(b"new")
        assert (link.read_bytes(), link.is_symlink()) == (b"new", False)
    assert (precious / "file").read_bytes() == PRECIOUS
    assert not (tmp_path / "no").exists()


# --- what is read, through the commands -----------------------------------------------------------


def commands(pipe: Path, folder: Path) -> dict[str, Sequence[str]]:
    return {
        "a model": ["run", "-m", str(pipe), "hi"],
        "messages": ["run", "-m", SCRIPTED, "--messages", str(pipe)],
        "a source": ["export", str(pipe), "--out", "out"],
        "a config": ["export", str(folder), "--out", "out"],
        "a matrix": ["export", "nano", "--to", "gguf", "--imatrix", str(pipe), "--out", "out"],
        "a prefix": ["run", "-m", "nano", "--prefix", str(pipe), "hi"],
        "questions": ["export", "calibrate", "nano", "--questions", str(pipe), "--out", "o"],
        "a text": ["export", "calibrate", "nano", "--text", str(pipe), "--out", "o"],
    }


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", commands(Path(), Path()))
def test_a_pipe_blocks_no_command(
    what: str,
    pipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    os.mkfifo(folder / "config.json")
    assert main(list(commands(pipe, folder)[what])) in (2, 3)
    assert "pipe" in capsys.readouterr().err


def test_a_pipe_in_a_bundle_is_no_file_of_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / MANIFEST)
    with pytest.raises(Exception, match="not a bundle"):
        open_bundle(tmp_path)
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(BundleError, match="a pipe"):
        read_table(tmp_path / "model.safetensors")


# --- what is written ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".out.part", ".out.old"])
def test_an_export_leaves_the_target_of_a_planted_link_alone(
    name: str, tmp_path: Path, precious: Path
) -> None:
    from edgereason.export.job import Job, export

    (tmp_path / name).symlink_to(precious)
    for force in (False, True):
        told = (
            pytest.raises(UsageError, match="is a link") if name == ".out.part" else nullcontext()
        )
        with told:
            export("nano", Job("gguf", tmp_path / "out", {"quant": "f32"}, force))
    assert os.listdir(precious) == ["file"]
    assert (precious / "file").read_bytes() == PRECIOUS


@pytest.mark.parametrize("name", [".tiny.lock", ".tiny.part"])
def test_a_pull_leaves_the_target_of_a_planted_link_alone(
    name: str, tmp_path: Path, precious: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path))
    folder = tmp_path / "models" / "tiny"
    folder.parent.mkdir()
    lock = name.endswith("lock")
    (folder.parent / name).symlink_to(precious / "file" if lock else precious)
    try:
        with hub._locked(folder), hub._workshop(folder) as made:
            (made / "weights").write_bytes(b"new")
    except OSError:
        assert lock
    assert os.listdir(precious) == ["file"]
    assert (precious / "file").read_bytes() == PRECIOUS


def test_a_forced_export_that_is_killed_leaves_one_of_the_two(tmp_path: Path) -> None:
    """Killed at each rename in turn: the folder is there, whole, and is the old or the new one."""
    from edgereason.export.job import Job, export

    out = tmp_path / "out"
    export("nano", Job("gguf", out, {"quant": "f32"}))
    program = """
import os, signal, sys
from pathlib import Path
from edgereason.export.job import Job, export
out, at = Path(sys.argv[1]), int(sys.argv[2])
replace, left = os.replace, [at]
def killing(source, target):
    if Path(target).name in ("out", ".out.old", ".out.part"):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killing
export("nano", Job("gguf", out, {"quant": "f16"}, force=True))
"""
    for at in range(3):
        subprocess.run([sys.executable, "-c", program, str(out), str(at)], check=False)
        assert open_bundle(out).quantization in ("F32", "F16")
    assert open_bundle(out).quantization == "F16"
