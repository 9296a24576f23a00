"""`edgereason export`: planned, resumable, and whole or not there at all."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="models are made with torch")
pytest.importorskip("transformers", reason="models are made with transformers")
pytest.importorskip("gguf", reason="the extra `export`")

from edgereason import registry
from edgereason.errors import DiskError, ModelNotFoundError, UsageError
from edgereason.export import job, workshop
from edgereason.export.job import Job, export, plan, run
from edgereason.export.sources import open as opening
from edgereason.export.sources.gguf import GgufSource
from edgereason.export.sources.hugging_face import HuggingFaceSource
from edgereason.export.sources.open import open_source
from edgereason.export.targets import gguf as target
from edgereason.export.weights import imatrix
from edgereason.models.bundle import MANIFEST, open_bundle
from support import hf_models
from support.cli_runner import Cli


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hf_models.save_model(tmp_path_factory.mktemp("export") / "tiny", "llama")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_target_keeps_the_contract() -> None:
    for name in registry.names("edgereason.export.targets"):
        module = registry.load("edgereason.export.targets", name)
        assert all(callable(getattr(module, part)) for part in ("Config", "check", "write")), name


def test_a_dry_run_tells_and_does_nothing(cli: Cli, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = cli("export", str(model), "--quant", "q4_0", "--out", str(out), "--dry-run", "--json")
    assert ran.code == 0
    assert ran.json["files"]["model.gguf"] > 0
    assert ran.json["scratch_bytes"] > ran.json["files"]["model.gguf"]
    assert ran.json["memory_bytes"] > 0
    assert names(tmp_path) == []
    told = cli("export", str(model), "--dry-run").out
    for word in ("model.gguf: about", "memory: about", "time: about", "of disk more"):
        assert word in told


def test_an_export_is_verified_by_show(cli: Cli, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = cli("export", str(model), "--quant", "f16", "--out", str(out), "--json")
    assert ran.code == 0
    assert ran.json["tokens"]["same"] == ran.json["tokens"]["texts"] > 15
    assert ran.json["peak_memory_bytes"] > 0
    assert names(tmp_path) == ["out"]
    assert names(out) == [MANIFEST, "model.gguf"]
    assert cli("show", str(out), "--verify").code == 0
    spoilt = bytearray((out / "model.gguf").read_bytes())
    spoilt[-1] ^= 1
    (out / "model.gguf").write_bytes(spoilt)
    again = cli("show", str(out), "--verify")
    assert again.code == 3
    assert "sha256" in again.err


def test_a_bundle_is_quantized(cli: Cli, model: Path, tmp_path: Path) -> None:
    first, second = str(tmp_path / "f16"), str(tmp_path / "small")
    assert cli("export", str(model), "--quant", "f16", "--out", first).code == 0
    ran = cli("export", "quantize", first, "--to", "Q8_0", "--out", second, "--json")
    assert ran.code == 0
    assert open_bundle(Path(second)).quantization == "Q8_0"
    kinds = {each["type"] for each in cli("export", "inspect", second, "--json").json["tensors"]}
    assert kinds == {"F32", "Q8_0"}


@pytest.mark.parametrize(
    "line",
    [
        ("export", "--to", "gguf", "--quant", "q8_0"),
        ("export", "model", "--to", "onnx", "--quant", "int4", "--imatrix"),
        ("export", "--to", "tensorrt", "--quant", "int4", "--set", "graph_only=true", "--imatrix"),
        ("export", "quantize", "--to", "q4_0"),
    ],
    ids=lambda line: " ".join(line[:4]),
)
def test_a_source_is_opened_once_and_planned_once(
    cli: Cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: tuple[str, ...]
) -> None:
    command = [word for word in line[:2] if not word.startswith("-")]
    given = [*line[len(command) :]]
    if command[-1] == "quantize":
        model = export(model, Job("gguf", tmp_path / "f16", {"quant": "f16"})).bundle.path
    if given[-1] == "--imatrix":
        sums = {"blk.0.ffn_up.weight": np.ones((1, 64), np.float32)}
        counts = {"blk.0.ffn_up.weight": np.ones(1, np.int64)}
        imatrix.write(imatrix.Imatrix(sums, counts, {}), tmp_path / "i.gguf")
        given.append(str(tmp_path / "i.gguf"))
    target = "gguf" if command[-1] == "quantize" else given[given.index("--to") + 1]
    calls: Counter[str] = Counter()
    for module, name in (
        (opening, "open_source"),
        (job, "plan"),
        (job, "check_prefixes"),
        (registry.load("edgereason.export.targets", target), "check"),
        (imatrix, "read"),
        (HuggingFaceSource, "__init__"),
        (GgufSource, "__init__"),
    ):
        count(monkeypatch, calls, module, name)
    ran = cli(*command, str(model), *given, "--out", str(tmp_path / "out"))
    assert (ran.code, ran.err.count("error")) == (0, 0)
    assert {name: num for name, num in calls.items() if name != "read"} == {
        "open_source": 1,
        "plan": 1,
        "check_prefixes": 1,
        "check": 1,
        "__init__": 1,
    }
    assert calls["read"] == given.count("--imatrix")


def count(monkeypatch: pytest.MonkeyPatch, calls: Counter[str], owner: Any, name: str) -> None:
    called = getattr(owner, name)

    def counted(*args: Any, **more: Any) -> Any:
        calls[name] += 1
        return called(*args, **more)

    monkeypatch.setattr(owner, name, counted)


def test_a_folder_that_is_called_like_a_model_is_told_apart(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nano").mkdir()
    ran = cli("export", "nano", "--quant", "f16", "--out", "out")
    assert ran.code == 3
    assert "nano is a folder here that has no config.json" in ran.err
    assert "the name of a model as well" in ran.err
    (place,) = re.findall(r"for that model give (\S+);", ran.err)
    assert cli("export", place, "--quant", "f16", "--out", "out").code == 0
    assert open_bundle(tmp_path / "out").architecture == "llama"
    other = cli("export", "./nano", "--quant", "f16", "--out", "two")
    assert other.err.startswith("error: nano is no model: it has no config.json")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--quant", "q4_k_mm"], "did you mean 'q4_k_m'"),
        (["--to", "gguff"], "did you mean 'gguf'"),
        (["--set", "colour=red"], "unknown option 'colour'"),
        (["--quant", "iq2_xs"], "needs an importance matrix"),
        (["--quant", "f16", "--imatrix", "x.gguf"], "uses no importance matrix"),
        (["--quant", "q4_0", "--imatrix", "x.gguf"], "x.gguf"),
    ],
)
def test_what_cannot_be_asked_for(
    cli: Cli, model: Path, tmp_path: Path, args: list[str], words: str
) -> None:
    ran = cli("export", str(model), "--out", str(tmp_path / "out"), *args)
    assert ran.code in (2, 3)
    assert words in ran.err
    assert ran.err.count("\n") == 1
    assert names(tmp_path) == []


def test_out_must_be_given_and_empty(cli: Cli, model: Path, tmp_path: Path) -> None:
    assert "--out must be given" in cli("export", str(model)).err
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    line = ["export", str(model), "--quant", "f32", "--out", str(out)]
    assert "is not empty" in cli(*line).err
    assert "bundles only" in cli(*line, "--force").err
    assert names(out) == ["thesis.txt"]
    (out / "thesis.txt").unlink()
    assert cli(*line).code == 0
    assert cli(*line).code == 2
    assert cli(*line[:3], "q8_0", *line[4:], "--force").code == 0
    assert open_bundle(out).quantization == "Q8_0"
    assert names(tmp_path) == ["out"]


def test_a_missing_package_is_named(
    cli: Cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    ran = cli("export", str(model), "--quant", "f16", "--out", str(tmp_path / "out"))
    assert ran.code == 2
    assert "pip install 'edgereason[export]'" in ran.err


def test_a_hostile_template_is_refused_before_any_work(
    cli: Cli, model: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "it ran"
    folder = shutil.copytree(model, tmp_path / "hostile")
    escape = "cycler.__init__.__globals__.os.system('touch " + str(mark) + "')"
    (folder / "chat_template.jinja").write_text("{{ " + escape + " }}")
    ran = cli("export", str(folder), "--quant", "f32", "--out", str(tmp_path / "out"))
    assert ran.code == 3
    assert "template" in ran.err
    assert names(tmp_path) == ["hostile"]


def test_a_model_without_template_says_so(cli: Cli, model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()
    ran = cli("export", str(folder), "--quant", "f32", "--out", str(tmp_path / "out"))
    assert ran.code == 0
    assert "no chat template" in ran.err
    assert open_bundle(tmp_path / "out").chat_template == ""


# --- the disk -------------------------------------------------------------------------------------


def test_too_small_a_disk_is_told_before_any_work(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: room)
    with open_source(model) as source, pytest.raises(DiskError, match="not enough disk"):
        plan(Job("gguf", tmp_path / "out", {"quant": "f16"}), source)


def test_a_disk_that_fills_up_leaves_nothing_to_open(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    written = target._encoded
    calls = []

    def full(name: str, *rest: Any) -> Any:
        calls.append(name)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(name, *rest)

    monkeypatch.setattr(target, "_encoded", full)
    with open_source(model) as source, pytest.raises(DiskError, match="disk is full"):
        export(source, Job("gguf", out, {"quant": "f16"}))
    assert names(tmp_path) == []


# --- going on -------------------------------------------------------------------------------------


def killed_after(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """As if the process died there: nothing is cleaned up."""

    class Killed(BaseException):
        pass

    def die(*args: object, **more: object) -> None:
        raise Killed

    if stage == "unquantized":
        monkeypatch.setattr("edgereason.export.libllama.quantize", die)
    else:
        monkeypatch.setattr(workshop, "write_bundle", die)
    monkeypatch.setattr(workshop, "_clear", lambda part, unfinished_only=False: None)


@pytest.mark.parametrize(
    ("stage", "there"), [("unquantized", "unquantized.gguf"), ("hashes", "model.gguf")]
)
def test_the_next_run_goes_on(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, there: str
) -> None:
    job = Job("gguf", tmp_path / "out", {"quant": "q4_0"})
    with monkeypatch.context() as patched, open_source(model) as source:
        killed_after(patched, stage)
        with pytest.raises(BaseException, match=r"^$"):
            export(source, job)
    part = tmp_path / ".out.part"
    assert there in names(part)
    stamp = (part / there).stat().st_mtime_ns
    with pytest.raises(ModelNotFoundError):
        open_bundle(part)
    (part / ".model.gguf.part").write_bytes(b"half")
    stages: set[str] = set()
    with open_source(model) as source:
        result = export(source, job, lambda stage, done, total: stages.add(stage))
    assert result.resumed == (there,)
    assert "writing f32" not in stages
    assert names(tmp_path) == ["out"]
    assert names(job.out) == [MANIFEST, "model.gguf"]
    if there == "model.gguf":
        assert (job.out / there).stat().st_mtime_ns == stamp


def test_another_job_does_not_go_on_with_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patched, open_source(model) as source:
        killed_after(patched, "unquantized")
        with pytest.raises(BaseException, match=r"^$"):
            export(source, Job("gguf", out, {"quant": "q4_0"}))
    with open_source(model) as source:
        result = export(source, Job("gguf", out, {"quant": "q4_1"}))
    assert result.resumed == ()
    assert result.bundle.quantization == "Q4_1"


def test_only_one_export_writes_there(model: Path, tmp_path: Path) -> None:
    job = Job("gguf", tmp_path / "out", {"quant": "f32"})

    def second(stage: str, done: int, total: int) -> None:
        with open_source(model) as other, pytest.raises(UsageError, match="another export"):
            export(other, job)

    with open_source(model) as source:
        export(source, job, second)


@pytest.mark.model
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_real_kill_in_the_middle(smollm2: Path, tmp_path: Path, how: signal.Signals) -> None:
    out = tmp_path / "out"
    line = [sys.executable, "-m", "edgereason", "export", str(smollm2), "--quant", "q4_0"]
    line += ["--out", str(out), "--json"]
    child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    part = tmp_path / ".out.part"
    while not (part / ".model.gguf.part").exists():  # the f32 file is finished, libllama at work
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(how)
    _, complaint = child.communicate()
    assert child.returncode == (-how if how == signal.SIGKILL else 130)
    assert "Traceback" not in complaint
    assert not out.exists()
    assert "unquantized.gguf" in names(part)
    with pytest.raises(ModelNotFoundError):
        open_bundle(part)
    again = subprocess.run(line, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["resumed"] == ["unquantized.gguf"]
    assert names(tmp_path) == ["out"]
    assert open_bundle(out).quantization == "Q4_0"


def test_files_of_a_bundle_stay_in_their_folder(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest that names a file elsewhere is refused, by `inspect` and as a source, too."""
    out = tmp_path / "out"
    with open_source(model) as source:
        export(source, Job("gguf", out, {"quant": "f32"}))
    manifest = json.loads((out / MANIFEST).read_text())
    manifest["files"][0]["path"] = "../../etc/passwd"
    (out / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(Exception, match="outside its folder"):
        open_source(out)


def test_a_plan_is_near_what_comes(model: Path, tmp_path: Path) -> None:
    for quant in ("f32", "f16", "q8_0", "q4_0_mixed", "q4_0"):
        out = tmp_path / quant
        with open_source(model) as source:
            planned = plan(Job("gguf", out, {"quant": quant}), source)
            run(planned)
        real = os.path.getsize(out / "model.gguf")
        assert planned.plan.files["model.gguf"] == pytest.approx(real, rel=0.25)


def test_numbers_that_f16_cannot_hold_are_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = HuggingFaceSource.tensor

    def large(self: HuggingFaceSource, name: str) -> Any:
        return plain(self, name) * (1e6 if name.endswith("ffn_up.weight") else 1)

    monkeypatch.setattr(HuggingFaceSource, "tensor", large)
    with open_source(model) as source, pytest.raises(UsageError, match="f16 cannot"):
        export(source, Job("gguf", tmp_path / "out", {"quant": "f16"}))
    assert names(tmp_path) == []
