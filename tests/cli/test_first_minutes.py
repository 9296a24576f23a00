"""What somebody new meets: `edgereason` alone, `doctor --fix`, completion, the manual page."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgereason.cli import _main, _welcome
from edgereason.config import child_environment
from edgereason.planning import device, gpu
from edgereason.planning.device import Machine
from support import model_stores
from support.cli_runner import Cli
from support.gguf_files import gguf_bytes

RUN = "import sys; from edgereason.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("OLLAMA_MODELS", "HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "LLAMA_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EDGEREASON_CACHE", str(tmp_path / "ours"))
    return tmp_path


# --- edgereason alone -----------------------------------------------------------------------------


def in_a_terminal(*args: str) -> str:
    """What it prints where stdin and stdout are a terminal."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [sys.executable, "-c", RUN, *args])
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:  # it has ended
        pass
    os.close(terminal)
    _, status = os.waitpid(process, 0)
    assert status == 0, shown.decode()
    return shown.decode().replace("\r\n", "\n")


def test_alone_in_a_terminal_it_says_what_to_do_next() -> None:
    shown = in_a_terminal()
    assert 'edgereason run -m nano "What is 47+8-23?" --strategy think' in shown
    assert "edgereason pull smollm2-135m" in shown
    assert "edgereason doctor" in shown


def test_in_a_pipe_it_prints_help(cli: Cli) -> None:
    assert cli().out.startswith("Usage: edgereason")


def test_what_it_names_can_be_run(cli: Cli) -> None:
    """Each command line is one that there is, and the first of all answers right."""
    shown = "\n".join(_welcome.lines())
    group: Any = _main.typer.main.get_command(_main._app())
    for command in re.findall(r"^ *edgereason ([a-z]\w*)", shown, re.MULTILINE):
        assert command in group.commands
    ran = cli("run", "-m", "nano", "What is 47+8-23?", "--strategy", "think", "--quiet")
    assert (ran.code, ran.out) == (0, "32\n")


def test_it_offers_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgereason.models import catalog

    monkeypatch.setattr(catalog, "free_bytes", lambda: 16 << 30)
    assert "pull ministral-3-8b-reasoning" in "\n".join(_welcome.lines())
    monkeypatch.setattr(catalog, "free_bytes", lambda: 2 << 30)
    shown = "\n".join(_welcome.lines())
    assert "1.5b" in shown
    assert "pull gemma-3-1b" in shown
    assert "8b" not in shown
    monkeypatch.setattr(catalog, "free_bytes", lambda: -1)
    assert "that fit" not in "\n".join(_welcome.lines())


def test_models_that_are_here_are_offered_first(home: Path) -> None:
    model_stores.lm_studio(home)
    shown = "\n".join(_welcome.lines())
    assert "Models of other programs" in shown
    assert "run -m lmstudio:someone/Tiny-GGUF/Tiny-Q4_K_M.gguf" in shown
    folder = home / "ours" / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "edgereason.json").write_text("{}")
    shown = "\n".join(_welcome.lines())
    assert "edgereason chat -m mine" in shown
    assert "lmstudio:" not in shown


# --- doctor --fix ---------------------------------------------------------------------------------


@pytest.fixture
def orin(monkeypatch: pytest.MonkeyPatch) -> None:
    board = "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit"
    found = Machine("aarch64", "ARMv8", 6, 7.4, 5.0, "NVIDIA Tegra (integrated)", board)
    monkeypatch.setattr(device, "this_machine", lambda: found)
    monkeypatch.setattr(gpu, "library", lambda: "")


@pytest.mark.usefixtures("orin")
def test_fixes_are_commands_and_comments(cli: Cli) -> None:
    lines = cli("doctor", "--fix").out.splitlines()
    commands = [line for line in lines if not line.startswith("#")]
    assert commands == [
        'CMAKE_BUILD_PARALLEL_LEVEL=2 CMAKE_ARGS="-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=87" '
        "pip install --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python "
        "llama-cpp-python==0.3.36",
        "edgereason pull smollm2-135m",
    ]
    shell = shutil.which("sh")
    assert shell
    checked = subprocess.run([shell, "-n"], input="\n".join(lines), text=True, check=False)
    assert checked.returncode == 0
    fixes = {check["name"]: check["fix"] for check in cli("doctor", "--json").json["checks"]}
    assert fixes["GPU"] == commands[0]
    assert fixes["memory"] == ""


# --- completion -----------------------------------------------------------------------------------


def completed(words: str, shell: str = "bash") -> list[str]:
    """What the shell would be told for a line with the cursor at its end."""
    environment = child_environment(
        _EDGEREASON_COMPLETE=f"complete_{shell}",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
        _TYPER_COMPLETE_ARGS=words,
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    done = subprocess.run(
        [sys.executable, "-c", RUN], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_options_and_models_are_completed(home: Path) -> None:
    assert completed("edgereason ru") == ["run"]
    assert "--think-budget" in completed("edgereason run --think")
    assert completed("edgereason export mod") == ["model", "modelfile"]
    assert completed("edgereason run --model nano-c") == ["nano-coconut"]
    assert "qwen3-4b" in completed("edgereason pull qwen3-4")
    model_stores.ollama(home / ".ollama" / "models", gguf_bytes())
    assert completed("edgereason show ollama:q", "fish") == [  # bash breaks words at colons
        "ollama:qwen3:0.6b",
        "ollama:qwen3:latest",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell(shell: str) -> None:
    environment = child_environment(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    done = subprocess.run(
        [sys.executable, "-c", RUN, "--show-completion", shell],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "_EDGEREASON_COMPLETE=complete_" in done.stdout
    assert " edgereason" in done.stdout


# --- the manual page ------------------------------------------------------------------------------


def test_the_page_has_every_command_and_option(cli: Cli) -> None:
    page = cli("man").out.replace("\\-", "-")
    assert page.startswith('.TH EDGEREASON 1 ""')
    group: Any = _main.typer.main.get_command(_main._app())
    for name, command in group.commands.items():
        if not hasattr(command, "commands"):
            assert f".SS edgereason {name}" in page
            for parameter in command.params:
                if parameter.param_type_name == "option":
                    assert re.search(rf"^\.B .*{parameter.opts[0]}\b", page, re.MULTILINE)
    assert ".SS edgereason export modelfile {model}" in page
    assert cli("man", "--json").json["page"].startswith(".TH")


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_takes_the_page(cli: Cli) -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww"],
        input=cli("man").out,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "hbpo" in done.stdout or "think-budget" in done.stdout
