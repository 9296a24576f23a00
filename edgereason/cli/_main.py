"""The entry point: finds the commands; whatever goes wrong becomes one line and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from edgereason import __version__
from edgereason.cli import _welcome
from edgereason.cli._interrupt import EXIT_INTERRUPTED
from edgereason.cli._options import flag
from edgereason.cli._screen import json_object, say
from edgereason.config import completing, env, load_toml, unknown
from edgereason.errors import EdgereasonError, UsageError
from edgereason.registry import groups, load, names

EXIT_NO_READER: Final = 141  # as if by SIGPIPE
_PACKAGE: Final = "edgereason.cli"
_PROGRAM: Final = "edgereason"
_EPILOG: Final = (
    "Every flag has an environment twin: --think-budget is EDGEREASON_THINK_BUDGET. "
    "Exit codes: 0 answered, 2 bad usage or input, 3 no such model, 4 not enough memory, "
    "5 the engine failed, 130 interrupted."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    args = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not so where tests replace them
            stream.reconfigure(errors="replace")
    json_object.said = False
    try:
        code = _run(args)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError as error:
        return _without_output(error)
    return code


def _without_output(error: OSError) -> int:
    """What we print cannot be written: its reader is gone, or a disk is full."""
    if not isinstance(error, BrokenPipeError):
        with contextlib.suppress(OSError):
            os.write(2, f"error: cannot write the output: {error.strerror}\n".encode())
    # The interpreter flushes once more at its end.
    null = os.open(os.devnull, os.O_WRONLY)
    for fileno in (1, 2):
        os.dup2(null, fileno)
    return EXIT_NO_READER if isinstance(error, BrokenPipeError) else EdgereasonError.exit_code


def _run(args: list[str]) -> int:
    try:
        command = typer.main.get_command(_app())
        if completing():  # the shell asks, and typer answers and ends
            command(prog_name=_PROGRAM)
        with command.make_context(_PROGRAM, args.copy()) as context:
            command.invoke(context)
    except typer.Exit as stop:
        return stop.exit_code
    except BrokenPipeError:
        raise
    except (KeyboardInterrupt, typer.Abort):
        return _complain(args, _Interrupted("interrupted"))
    except EdgereasonError as error:
        return _complain(args, error)
    except Exception as error:
        return _complain(args, _usage_error(error) or _internal_error(error))
    return 0


def _app() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, epilog=_EPILOG)
    app.callback(invoke_without_command=True)(_edgereason)
    _add_commands(app, _PACKAGE)
    return app


def _add_commands(app: typer.Typer, package: str) -> None:
    """A file is a command, a folder a group of them; `Group` in it says how its names are read."""
    for name in names(package):
        app.command(name)(load(package, name).command)
    for name in groups(package):
        module = importlib.import_module(f"{package}.{name.replace('-', '_')}")
        group = typer.Typer(cls=getattr(module, "Group", _Group), rich_markup_mode=None)
        _add_commands(group, module.__name__)
        help = (module.__doc__ or "").partition("\n")[0]
        app.add_typer(group, name=name, help=help)


class _Group(TyperGroup):
    """`edgereason export x.gguf` is short for `edgereason export model x.gguf`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        none = not args and completing()  # the shell asks which commands there are
        if "model" in self.commands and not none and (not args or args[0] not in self.commands):
            args = ["model", *args]
        return super().parse_args(ctx, args)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"edgereason {__version__}")
        raise typer.Exit


def _take_options(context: typer.Context, path: Path | None) -> None:
    """`--options FILE`: a table for each command, as `edgereason plan --export` writes it. What is
    typed and what the environment says win."""
    if path is None:
        return
    group: Any = context.command
    tables = load_toml(path)
    for name, table in tables.items():
        if name not in group.commands or not isinstance(table, dict):
            raise unknown(f"{path} has a table for no command:", name, group.commands)
        known = {  # a flag without its dashes -> typer's name for it
            flag.lstrip("-"): parameter.name
            for parameter in group.commands[name].params
            for flag in parameter.opts
        }
        for key in table:
            if key not in known:
                raise unknown(f"{path}: {name} has no option", key, known)
        tables[name] = {known[key]: value for key, value in table.items()}
    context.default_map = tables


def _edgereason(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    options: Annotated[
        Path | None,
        flag("--options", "A file of options by command, as `edgereason plan --export` writes it."),
    ] = None,
) -> None:
    """Get the right answer out of a small reasoning model, within a budget of tokens and time."""
    _take_options(context, options)
    if context.invoked_subcommand is not None:
        return
    if sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty():
        for line in _welcome.lines():
            say(line)
    else:
        print(context.get_help())


# --- what went wrong ------------------------------------------------------------------------------


class _Interrupted(EdgereasonError):
    code = "interrupted"
    exit_code = EXIT_INTERRUPTED


class _InternalError(EdgereasonError):
    code = "internal"


def _usage_error(error: Exception) -> UsageError | None:
    """What typer found wrong with the line. Its class moved between releases; this did not."""
    if not hasattr(error, "format_message"):
        return None
    message = str(error.format_message()).strip().rstrip(".")
    near = getattr(error, "possibilities", None)
    if near:
        message = message.partition(" (Possible")[0].partition(" Did you mean")[0].rstrip(".")
        return UsageError(_lower_first(message), f"did you mean {near[0]}?")
    return UsageError(_lower_first(" ".join(message.split())), "see --help")


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _internal_error(error: Exception) -> _InternalError:
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _InternalError(what, "run it again with --debug to see where")


def _complain(args: Sequence[str], error: EdgereasonError) -> int:
    """One line on stderr or one object on stdout; with --debug the traceback, too. A line, too,
    where the object of this command is there already."""
    if _wants("debug", args):
        for line in traceback.format_exc().splitlines():
            say(line, error=True)
    if _wants("json", args) and not json_object.said:
        json_object.say(error.to_dict())
    else:
        say("error: " + " ".join(str(error).split()), error=True)
    return error.exit_code


def _wants(flag: str, args: Sequence[str]) -> bool:
    """Looked up in the raw arguments: the line may be the very thing that is wrong."""
    options = args[: args.index("--")] if "--" in args else args
    return f"--{flag}" in options or (env(flag) or "").lower() in ("1", "true", "yes", "on")
