"""Measure: `pareto` compares models and ways, every other name is a suite of bench/suites.

A suite has options of its own: `edgereason bench NAME --help`.
"""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from edgereason.registry import load, names

_SUITES = "edgereason.bench.suites"


class Group(TyperGroup):
    """The commands of this folder, and behind them the suites, none of which is imported before it
    is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *names(_SUITES)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        return own if own is not None or cmd_name not in names(_SUITES) else _suite(cmd_name)


def _suite(name: str) -> Any:
    """A suite reads its options itself; its first line is its help."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    passed_on = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}

    @app.command(name, context_settings=passed_on, help=f"Suite: {load(_SUITES, name).BENCH.about}")
    def command(context: typer.Context) -> None:
        from edgereason.bench.harness.runner import run

        try:
            code = run(load(_SUITES, name).BENCH, context.args)
        except SystemExit as stop:  # --help, or a wrong option
            sys.stdout.flush()
            code = stop.code if isinstance(stop.code, int) else 2
        raise typer.Exit(code)

    return typer.main.get_command(app)
