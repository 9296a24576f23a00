"""A server that existing clients use unchanged: OpenAI's, Anthropic's and Ollama's.

    models = Models(find(("smollm2-135m",)), Reasoner.open)
    Server(build_app(models, config), config).listen()

It needs the extra `server`; importing the package does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgereason.server.app import Server, build_app
    from edgereason.server.config import ServerConfig
    from edgereason.server.models import Model, Models, find

__all__ = ["Model", "Models", "Server", "ServerConfig", "build_app", "find"]

_LAZY = {
    "Model": "models",
    "Models": "models",
    "Server": "app",
    "ServerConfig": "config",
    "build_app": "app",
    "find": "models",
}


def __getattr__(name: str) -> Any:
    """Loads the web libraries when they are first used: the command line lists `serve` without."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(f"edgereason.server.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'edgereason.server' has no attribute {name!r}")
