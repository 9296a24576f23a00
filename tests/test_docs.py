"""What the documents say is true: options, exit codes, files, links, and programs that run."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgereason import errors
from edgereason.cli import _main
from edgereason.config import env_name
from edgereason.planning import effort
from support.places import ROOT

FILES = [
    path.as_posix()
    for folder in ROOT.iterdir()
    if folder.is_dir() and folder.name != "build" and not folder.name.startswith(".")
    for path in folder.rglob("*.*")
]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        yield name, command
        if hasattr(command, "commands"):
            yield from ((f"{name} {inner}", found) for inner, found in commands(command))


def test_every_option_and_its_twin_are_in_the_manual() -> None:
    import typer

    manual = page("docs/cli.md")
    group: Any = typer.main.get_command(_main._app())
    for name, command in commands(group):
        assert f"`{name.partition(' ')[0]} " in manual or f"`{name}`" in manual
        for parameter in command.params:
            long = next((each for each in parameter.opts if each.startswith("--")), "--help")
            if long != "--help":
                twin = f"`{env_name(long)}` " if parameter.envvar else ""
                assert re.search(rf"`{long}` \| {twin}\|", manual), long


def test_every_error_and_its_exit_code_are_in_the_manual() -> None:
    codes = dict(re.findall(r"^\| (\d+) \| .* \| (.*) \|$", page("docs/cli.md"), re.MULTILINE))
    for _, error in inspect.getmembers(errors, inspect.isclass):
        if error is not errors.EdgereasonError:
            assert f"`{error.code}`" in codes[str(error.exit_code)]


def test_efforts_are_those_of_the_manual() -> None:
    names, tokens = re.findall(
        r"^\| (?:effort|tokens) \| (.*) \|$", page("docs/cli.md"), re.MULTILINE
    )
    said = dict(zip(names.split(" | "), tokens.split(" | "), strict=True))
    table = effort.table(1 << 20)
    assert said == {name: str(n) if n >= 0 else "no limit" for name, n in table.items()}


def test_the_readme_is_short_and_its_tree_exists() -> None:
    readme = page("README.md")
    assert readme.count("\n") < 200
    tree = re.search(r"```\n\.\n(.*?)```", readme, re.DOTALL)
    assert tree is not None
    folders: list[str] = []
    for line in tree[1].splitlines():
        bars, _, entry = line.partition("── ")
        names = entry.split("  ")[0].split()
        depth = len(bars) // 4
        folders = folders[:depth]
        for name in names:
            assert (ROOT / Path(*folders) / name).exists(), "/".join([*folders, name])
        folders.append(names[0].rstrip("/"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_files_that_are_named_exist(path: Path) -> None:
    """Names in backquotes that look like files of ours; `x` stands for any."""
    for name in re.findall(
        r"`([\w./-]+\.(?:py|h|cc|toml|md|pyi))`", path.read_text(encoding="utf-8")
    ):
        if "/x." in name:
            continue
        assert (ROOT / name).exists() or any(each.endswith(f"/{name}") for each in FILES), name


def test_the_program_about_reasoning_runs_and_its_levels_are_those_that_hold() -> None:
    from edgereason.prompt.families import variables

    text = page("docs/reasoning.md")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "('<mm:think>',) ('</mm:think>',) {'thinking_mode': 'disabled'}\n"
    levels = dict(re.findall(r"^\| (low|medium|high|max) \| (\d+) \|$", text, re.MULTILINE))
    assert {name: int(num) for name, num in levels.items()} == variables().levels


PROGRAMS = [
    block
    for name in ("README.md", "docs/robots.md", "docs/structured.md", "docs/ways.md")
    for block in re.findall(r"```python\n(.*?)```", page(name), re.DOTALL)
]


@pytest.mark.parametrize("block", PROGRAMS)
def test_the_programs_of_the_pages_run(block: str) -> None:
    scripted = block.replace('"smollm2-135m"', repr(str(ROOT / "examples" / "scripted")))
    assert scripted != block
    done = subprocess.run(
        [sys.executable, "-c", scripted], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize(
    "block", re.findall(r"```python\n(.*?)```", page("docs/security.md"), re.DOTALL)
)
def test_the_programs_of_the_security_page_run(block: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "18,446,744,073,709,551,615 tensors" in done.stdout
    assert "at byte 24" in done.stdout


def test_the_program_of_the_planning_page_runs() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", page("docs/planning.md"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, second, source = done.stdout.splitlines()
    assert re.fullmatch(r"think:64 \d+ fits", first)
    assert second.startswith("think None ('how long it thinks is not known")
    assert source.startswith("roofline: ")


def test_the_program_of_the_page_about_sweeps_runs(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    (block,) = re.findall(r"```python\n(.*?)```", page("docs/pareto.md"), re.DOTALL)
    sweep = ["bench", "pareto", "--models", str(ROOT / "examples" / "scripted"), "--out", "sweep"]
    more = ["--tasks", "chain", "--questions", "1", "--ways", "think:4,no-think", "--check", "0"]
    for command in (["-m", "edgereason", *sweep, *more], ["-c", block]):
        done = subprocess.run(
            [sys.executable, *command],
            capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert "'way': 'think:4', 'right': 0.0" in done.stdout
