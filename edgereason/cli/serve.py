"""`edgereason serve`: models behind the APIs that clients know."""

from __future__ import annotations

import importlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgereason.cli._opening import engine_options, tuned_for
from edgereason.cli._options import Debug, Opening, flag, with_options
from edgereason.cli._screen import say
from edgereason.errors import UsageError
from edgereason.server.config import ServerConfig

if TYPE_CHECKING:
    from edgereason.runtime.reasoner import Reasoner


@with_options
def command(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models, each as MODEL or NAME=MODEL; the first is open from the start."
        ),
    ] = None,
    *,
    opening: Opening,
    serving: ServerConfig,
    insecure: Annotated[
        bool, flag("--insecure", "Listen beyond this machine without a key.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Serve models to clients of OpenAI, Anthropic and Ollama.

    One line of JSON per request goes to stderr. Ctrl-C stops it: running answers are finished.
    """
    if not (serving.is_loopback or serving.api_keys or insecure):
        raise UsageError(
            f"--host {serving.host} lets other machines in, and there is no key",
            "add --api-key KEY, or --insecure",
        )
    _listen(tuple(models or [opening.model]), opening, serving)


def _listen(specs: tuple[str, ...], opening: Opening, serving: ServerConfig) -> None:
    server = _server_package()
    from edgereason.models.bundle import open_bundle
    from edgereason.runtime.reasoner import Reasoner
    from edgereason.runtime.trace import JsonLines

    options: dict[str, Any] = engine_options(opening)
    found = server.find(specs)
    first = next(iter(found.values()))
    trace = JsonLines(Path(opening.trace)) if opening.trace is not None else None

    def open_model(path: Path) -> Reasoner:
        file, tuned, note = tuned_for(open_bundle(path), opening)
        if note:
            say(f"{path.name}: {note}", error=True)
        given = {"engine": opening.engine, "threads": opening.threads, **options, **tuned}
        return Reasoner.open(
            file,
            trace=trace,
            kv_cache=serving.kv_cache,
            kv_cache_mib=serving.kv_cache_mib,
            **given,
        )

    _log_to_stderr()
    try:
        first.reasoner = open_model(first.bundle.path)
        models = server.Models(found, open_model, max_loaded=serving.max_loaded)
        say(f"serving {', '.join(found)}", error=True)
        server.Server(server.build_app(models, serving), serving).listen()
    finally:
        if first.reasoner is not None:
            first.reasoner.close()
        if trace is not None:
            trace.close()


def _server_package() -> Any:
    try:
        for name in ("prometheus_client", "starlette", "uvicorn"):
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"serving needs {error.name}, which is not installed",
            "pip install 'edgereason[server]'",
        ) from None
    from edgereason import server

    return server


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in ("edgereason", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
