"""What operators and tools ask: models, health, figures, tokens, what runs, stop and cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edgereason import __version__
from edgereason.records import Channel
from edgereason.server.chat import FINGERPRINT
from edgereason.server.errors import ApiError
from edgereason.server.fields import Means, Table, bad, boolean, one_of, read, text
from edgereason.server.http import read_json
from edgereason.server.metrics import core_stats
from edgereason.server.models import Model
from edgereason.server.running import Running
from edgereason.server.service import Service

T = TypeVar("T")


class Operations:
    """Endpoints of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def health(self, request: Request) -> Response:
        stopping = self._service.is_stopping
        return JSONResponse({"status": "stopping" if stopping else "ok"}, 503 if stopping else 200)

    async def metrics(self, request: Request) -> Response:
        return Response(
            self._service.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def models(self, request: Request) -> Response:
        found = list(self._service.models)
        if "anthropic-version" in request.headers:
            return JSONResponse(_anthropic_list(found))
        return JSONResponse({"object": "list", "data": [_openai_model(m) for m in found]})

    async def model(self, request: Request) -> Response:
        model = self._service.models.named(request.path_params["name"])
        anthropic = "anthropic-version" in request.headers
        return JSONResponse(_anthropic_model(model) if anthropic else _openai_model(model))

    async def props(self, request: Request) -> Response:
        """As llama.cpp's server has it, of the first model."""
        model = next(iter(self._service.models))
        return JSONResponse(
            {
                "default_generation_settings": {"n_ctx": model.context},
                "total_slots": self._service.config.max_requests,
                "model_alias": model.name,
                "chat_template": model.bundle.chat_template,
                "bos_token": model.bundle.bos_token,
                "eos_token": model.bundle.eos_token,
                "modalities": {"vision": False, "audio": False},
                "build_info": f"{FINGERPRINT} {__version__}",
                "endpoint_metrics": True,
                "endpoint_props": False,
                "endpoint_slots": False,
            }
        )

    async def tokenizer_info(self, request: Request) -> Response:
        """As vLLM has it, of the first model: lm-eval asks for it."""
        bundle = next(iter(self._service.models)).bundle
        return JSONResponse(
            {
                "bos_token": bundle.bos_token or None,
                "eos_token": bundle.eos_token or None,
                "pad_token": None,
                "chat_template": bundle.chat_template or None,
            }
        )

    async def tokenize(self, request: Request) -> Response:
        given = await self._read(request, _TOKENIZE)
        content: str = given.get("content", "")
        add, parse = given.get("add_special", False), given.get("parse_special", True)

        def work(engine: Any) -> list[int]:
            tokens: list[int] = engine.tokenize(content, parse_control=parse)
            return [engine.bos, *tokens] if add and engine.add_bos else tokens

        def pieces(engine: Any) -> list[dict[str, Any]]:
            return [{"id": token, "piece": _piece(engine, token)} for token in work(engine)]

        read: Callable[[Any], list[Any]] = pieces if given.get("with_pieces") else work
        tokens = await self._with_engine(given.get("model"), read)
        return JSONResponse({"tokens": tokens, "count": len(tokens)})

    async def detokenize(self, request: Request) -> Response:
        given = await self._read(request, _DETOKENIZE)
        tokens: Sequence[int] = given.get("tokens", ())

        def work(engine: Any) -> str:
            num_vocab = engine.info["num_vocab"]
            for token in tokens:
                if not 0 <= token < num_vocab:
                    raise bad("tokens", f"token ids below {num_vocab}", token)
            said: bytes = engine.detokenize(tokens)
            return said.decode(errors="replace")

        content = await self._with_engine(given.get("model"), work)
        return JSONResponse({"content": content, "prompt": content})

    async def control(self, request: Request) -> Response:
        """Ends the thinking of a live request, or the request."""
        given = await self._read(request, _CONTROL)
        id, action = given.get("id"), given.get("action")
        if id is None or action is None:
            raise ApiError(400, "id and action must be given", code="missing_parameter")
        act = self._service.cancel if action == "cancel" else self._service.stop_thinking
        if act(id):
            return JSONResponse({"success": True})
        return JSONResponse({"success": False, "message": f"no request {id[:80]!r} runs"})

    async def status(self, request: Request) -> Response:
        """What runs now, for the page."""
        service = self._service
        cells = {
            m.name: m.reasoner.engine.info["num_cells"]
            for m in service.models
            if m.reasoner is not None
        }
        stats = core_stats(service)
        return JSONResponse(
            {
                "version": __version__,
                "is_stopping": service.is_stopping,
                "max_requests": service.config.max_requests,
                "models": [
                    {"name": m.name, "open": m.reasoner is not None, "num_users": m.num_users}
                    | {"num_cells": cells.get(m.name, 0), "core": stats.get(m.name)}
                    for m in service.models
                ],
                "requests": [_request(running) for running in service.running.values()],
            },
            headers={"cache-control": "no-store"},
        )

    async def _read(self, request: Request, table: Table) -> Any:
        return read(await read_json(request, self._service.config), table, reject_unknown=True)

    async def _with_engine(self, name: str | None, work: Callable[[Any], T]) -> T:
        """Runs `work` on a thread, on the engine of a model that stays open meanwhile."""
        models = self._service.models
        model = models.named(name) if name is not None else next(iter(models))
        with models.used(model):
            reasoner = await models.opened(model)
            return await asyncio.to_thread(work, reasoner.engine)


def _piece(engine: Any, token: int) -> str | list[int]:
    """Its text, or its bytes where they are half of a character."""
    said: bytes = engine.piece(token)
    try:
        return said.decode()
    except UnicodeDecodeError:
        return list(said)


def _tokens(value: Any, name: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(one) is int for one in value):
        raise bad(name, "a list of token ids", value)
    return tuple(value)


_TOKENIZE: Table = {
    "model": Means("model", text),
    "content": Means("content", text),
    "prompt": Means("content", text),
    "add_special": Means("add_special", boolean),
    "add_special_tokens": Means("add_special", boolean),
    "parse_special": Means("parse_special", boolean),
    "with_pieces": Means("with_pieces", boolean),
}
_DETOKENIZE: Table = {"model": Means("model", text), "tokens": Means("tokens", _tokens)}
_CONTROL: Table = {
    "model": Means("model", text),
    "id": Means("id", text),
    "action": Means("action", one_of("reasoning_end", "cancel")),
}


def _request(running: Running) -> dict[str, Any]:
    channel = running.channel
    doing = {None: "reads", Channel.REASONING: "thinks", Channel.ANSWER: "answers"}
    return {
        "id": running.id,
        "model": running.model.name,
        "route": running.route,
        "doing": doing[channel],
        "age_ms": round(running.age_ms),
        "deadline_ms": running.given.get("deadline_ms"),
        "think_budget": running.request.budget.think_tokens,
        "priority": running.request.priority,
        "num_pieces": running.num_pieces,
    }


def _openai_model(model: Model) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": "edgereason",
        "context_length": model.context,
        "max_model_len": model.context,
        "open": model.reasoner is not None,
        "thinks": model.thinks,
    }


def _anthropic_model(model: Model) -> dict[str, Any]:
    return {
        "id": model.name,
        "type": "model",
        "display_name": model.name,
        "created_at": "1970-01-01T00:00:00Z",
        "max_input_tokens": model.context,
        "max_tokens": model.context,
        "capabilities": {"thinking": {"supported": model.thinks}},
    }


def _anthropic_list(models: Sequence[Model]) -> dict[str, Any]:
    data = [_anthropic_model(model) for model in models]
    ids = [model.name for model in models]
    return {"data": data, "first_id": ids[0], "last_id": ids[-1], "has_more": False}
