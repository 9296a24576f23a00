"""The commands there are, and their options."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import typer

from edgereason.cli import _main
from edgereason.config import env_name
from edgereason.registry import names
from support.cli_runner import Cli


def test_every_option_of_every_command_has_its_twin() -> None:
    group: Any = typer.main.get_command(_main._app())
    seen = set()
    for command in group.commands.values():
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.opts != ["--help"]:
                long = next(name for name in parameter.opts if name.startswith("--"))
                assert parameter.envvar == env_name(long), (command.name, long)
                seen.add(long)
    assert {"--think-budget", "--deadline-ms", "--set", "--kv", "--json", "--debug"} <= seen


def test_help_names_every_command(cli: Cli) -> None:
    commands = {"chat", "doctor", "list", "pull", "run", "show", "strategies"}
    for args in ((), ("--help",)):
        ran = cli(*args)
        assert ran.code == 0
        assert commands <= set(ran.out.split())
    for name in commands:
        ran = cli(name, "--help")
        assert ran.code == 0
        assert "--debug" in ran.out
    assert cli("--version").out.startswith("edgereason 0.")


def test_functions_named_command_are_all_there_is_to_a_command() -> None:
    found = (name.replace("-", "_") for name in names("edgereason.cli"))
    flat = [f"edgereason.cli.{name}" for name in found if name != "export"]
    grouped = [f"edgereason.cli.export.{name}" for name in names("edgereason.cli.export")]
    for path in flat + grouped:
        module = importlib.import_module(path)
        assert inspect.isfunction(module.command)
        assert module.command.__doc__
