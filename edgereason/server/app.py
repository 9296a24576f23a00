"""The routes, put together: `build_app` gives an ASGI application, `serve` runs it.

Each endpoint reads a body by its dialect's table, starts a request, and sends what the dialect's
writer writes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from edgereason.errors import EdgereasonError, UsageError
from edgereason.prompt.chat import thinking_prompt
from edgereason.records import Message
from edgereason.server import chat, completions, llamacpp, messages, ollama, responses
from edgereason.server.budgets import thinking_of
from edgereason.server.completions import Raw
from edgereason.server.config import ServerConfig
from edgereason.server.conversation import apart
from edgereason.server.errors import ApiError, as_api_error
from edgereason.server.fields import Given, Table, number, read, unsupported
from edgereason.server.guard import Guard
from edgereason.server.http import Endpoint, Reply, Writer, read_json, refusal
from edgereason.server.models import Models
from edgereason.server.operations import Operations
from edgereason.server.page import page, script
from edgereason.server.running import Running
from edgereason.server.service import Asked, Service
from edgereason.server.several import Several, SeveralReply
from edgereason.server.tools import tools_of

log = logging.getLogger("edgereason.server")

DEADLINE_HEADER = "x-edgereason-deadline-ms"

MessagesOf = Callable[[Given], tuple[Message, ...]]


class Faces:
    """The endpoints that answer, one for each dialect."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._conversations = responses.Conversations()

    async def chat(self, request: Request) -> Response:
        return await self._answer(request, chat.FIELDS, chat.messages_of, chat.ChatWriter)

    async def completions(self, request: Request) -> Response:
        table, raw_of = completions.FIELDS, completions.raw_of
        return await self._goes_on(request, table, raw_of, completions.CompletionWriter)

    async def completion(self, request: Request) -> Response:
        """llama.cpp's own."""
        raw_of = partial(llamacpp.raw_of, answer_tokens=self._service.config.answer_tokens)
        return await self._goes_on(request, llamacpp.FIELDS, raw_of, llamacpp.CompletionWriter)

    async def _goes_on(
        self,
        request: Request,
        table: Table,
        raw_of: Callable[[Any, Any, Given], Raw],
        writer: Callable[[Running, Raw], Writer],
    ) -> Response:
        arrived = time.monotonic()
        given = await self._read(request, table)
        prompts = completions.prompts_of(given)
        models = self._service.models
        model = models.named(given.get("model"))
        with models.used(model):
            engine = (await models.opened(model)).engine
            raws = [await asyncio.to_thread(raw_of, engine, prompt, given) for prompt in prompts]
            return await self._reply(request, given, raws, arrived, writer)

    async def responses(self, request: Request) -> Response:
        kept = self._conversations

        def writer(running: Running) -> Writer:
            return responses.ResponseWriter(running, kept)

        return await self._answer(request, responses.FIELDS, kept.messages_of, writer)

    async def messages(self, request: Request) -> Response:
        return await self._answer(
            request, messages.FIELDS, messages.complete, messages.MessageWriter
        )

    async def count_tokens(self, request: Request) -> Response:
        return await self._count(request, messages.FIELDS, messages.conversation)

    async def chat_tokens(self, request: Request) -> Response:
        return await self._count(request, chat.FIELDS, chat.messages_of)

    async def response_tokens(self, request: Request) -> Response:
        kept = self._conversations
        kind = "response.input_tokens"
        return await self._count(request, responses.FIELDS, kept.messages_of, object=kind)

    async def _count(
        self, request: Request, table: Table, messages_of: MessagesOf, **more: str
    ) -> Response:
        """The tokens of a prompt, written for a model that thinks or not, as it was asked."""
        given = await self._read(request, table)
        turns, tools = apart(messages_of(given))[0], tools_of(given)
        models = self._service.models
        model = models.named(given.get("model"))
        thinking = thinking_of(given, model.context, self._service.config) != 0
        with models.used(model):
            reasoner = await models.opened(model)
            tokens = await asyncio.to_thread(
                reasoner.prompt_tokens, turns, thinking=thinking, tools=tools
            )
        return JSONResponse({**more, "input_tokens": len(tokens)})

    async def template(self, request: Request) -> Response:
        """The prompt that a conversation comes to, as text."""
        given = await self._read(request, chat.FIELDS)
        turns, begun = apart(chat.messages_of(given))
        tools, models = tools_of(given), self._service.models
        model, config = models.named(given.get("model")), self._service.config
        prompt = await asyncio.to_thread(
            thinking_prompt,
            model.bundle,
            turns,
            thinking_of(given, 0, config) != 0,
            tools=tools.functions if tools else None,
        )
        return JSONResponse({"prompt": "".join(part.text for part in prompt.segments) + begun})

    async def ollama_chat(self, request: Request) -> Response:
        return await self._ollama(request, ollama.CHAT, ollama.chat_messages, is_chat=True)

    async def ollama_generate(self, request: Request) -> Response:
        return await self._ollama(request, ollama.GENERATE, ollama.generate_messages, is_chat=False)

    async def _ollama(
        self, request: Request, table: Table, messages_of: MessagesOf, *, is_chat: bool
    ) -> Response:
        def conversation(given: Given) -> tuple[Message, ...]:
            ollama.complete(given, self._service.models.named(given.get("model")))
            return messages_of(given)

        def writer(running: Running) -> Writer:
            return ollama.OllamaWriter(running, is_chat=is_chat)

        return await self._answer(request, table, conversation, writer, streams=True)

    async def _answer(
        self,
        request: Request,
        table: Table,
        messages_of: MessagesOf,
        writer: Callable[[Running], Writer],
        *,
        streams: bool = False,
    ) -> Response:
        """`streams`: whether the dialect does so unless it is told."""
        arrived = time.monotonic()
        given = await self._read(request, table)
        turns = messages_of(given)

        def write(running: Running, asked: Asked) -> Writer:
            return writer(running)

        return await self._reply(request, given, [turns], arrived, write, streams=streams)

    async def _reply(
        self,
        request: Request,
        given: Given,
        asked: Sequence[Any],
        arrived: float,
        writer: Callable[[Running, Any], Writer],
        *,
        streams: bool = False,
    ) -> Response:
        """All that one request of HTTP asks for: each of `asked`, `n` times."""
        num_each, config = given.get("num_answers", 1), self._service.config
        streams = given.get("stream", streams)
        _check_number(given, num_each * len(asked), config.max_samples, streams=streams)
        path, pairs = request.url.path, []
        try:
            for one in asked:
                for index in range(num_each):
                    running = await self._service.start(
                        given, one, route=path, arrived=arrived, index=index
                    )
                    pairs.append((running, writer(running, one)))
        except BaseException:
            for running, _ in pairs:
                running.cancel("refused")
            raise
        if len(pairs) == 1:
            return Reply(*pairs[0], config, streams=streams)
        several = Several([running for running, _ in pairs], len(asked))
        return SeveralReply(several, [each for _, each in pairs])

    async def _read(self, request: Request, table: Table) -> Given:
        config = self._service.config
        body = await read_json(request, config)
        given = read(body, table, reject_unknown=config.unknown_fields == "reject")
        self._name_model(given)
        deadline = request.headers.get(DEADLINE_HEADER)
        if deadline is not None:
            given.put("deadline_ms", DEADLINE_HEADER, _milliseconds(deadline))
        return given

    def _name_model(self, given: Given) -> None:
        """Clients of llama.cpp's server name none: where there is one, it is that."""
        if "model" in given.values:
            return
        names = [model.name for model in self._service.models]
        if len(names) > 1:
            raise ApiError(400, "model must be given", param="model", code="missing_parameter")
        given.put("model", "model", names[0])


def _check_number(given: Given, num: int, most: int, *, streams: bool) -> None:
    name = "prompt" if given.get("num_answers", 1) == 1 else given.name("num_answers")
    if num > most:
        raise ApiError(
            400,
            f"{name} asks for {num} answers, more than this server gives to one request: {most} "
            "(--max-samples)",
            param=name,
        )
    if num > 1 and streams:
        raise unsupported("stream", True, f"{num} answers are told together, at their end")


def _milliseconds(text: str) -> float:
    try:
        value: Any = float(text)
    except ValueError:
        value = text
    checked: float = number(1)(value, DEADLINE_HEADER)
    return checked


class OllamaModels:
    """What Ollama's clients ask of models."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def tags(self, request: Request) -> Response:
        return JSONResponse({"models": [ollama.tag(model) for model in self._service.models]})

    async def ps(self, request: Request) -> Response:
        found = [model for model in self._service.models if model.reasoner is not None]
        return JSONResponse({"models": [ollama.loaded(model) for model in found]})

    async def show(self, request: Request) -> Response:
        given = read(await read_json(request, self._service.config), ollama.SHOW)
        if "model" not in given.values:
            raise ApiError(400, "model must be given", param="model", code="missing_parameter")
        return JSONResponse(ollama.show(self._service.models.named(given.get("model"))))

    async def version(self, request: Request) -> Response:
        return JSONResponse({"version": ollama.VERSION})


def build_app(models: Models, config: ServerConfig) -> Starlette:
    """The application. `app.state.service` is what it runs on."""
    service = Service(models, config)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await service.close()

    app = Starlette(
        routes=_routes(service),
        middleware=[Middleware(Guard, config=config)],
        exception_handlers={
            ApiError: _refuse,
            EdgereasonError: _refuse,
            HTTPException: _no_route,
            ClientDisconnect: _gone,
            Exception: _refuse,
        },
        lifespan=lifespan,
    )
    app.state.service = service
    return app


def _routes(service: Service) -> list[Route]:
    faces, operations, of_ollama = Faces(service), Operations(service), OllamaModels(service)
    return [
        *(Route(path, operations.health) for path in ("/health", "/v1/health")),
        Route("/", page),
        Route("/page.js", script),
        Route("/status", operations.status),
        Route("/metrics", operations.metrics),
        Route("/props", operations.props),
        Route("/tokenizer_info", operations.tokenizer_info),
        Route("/tokenize", operations.tokenize, methods=["POST"]),
        Route("/detokenize", operations.detokenize, methods=["POST"]),
        Route("/apply-template", faces.template, methods=["POST"]),
        Route("/v1/models/{name:path}", operations.model),
        *_short("/models", operations.models, "GET"),
        *_short("/chat/completions", faces.chat),
        *_short("/chat/completions/control", operations.control),
        *_short("/chat/completions/input_tokens", faces.chat_tokens),
        *_short("/responses", faces.responses),
        *_short("/responses/input_tokens", faces.response_tokens),
        Route("/v1/completions", faces.completions, methods=["POST"]),
        *(
            Route(path, faces.completion, methods=["POST"])
            for path in ("/completion", "/completions")
        ),
        Route("/v1/messages", faces.messages, methods=["POST"]),
        Route("/v1/messages/count_tokens", faces.count_tokens, methods=["POST"]),
        Route("/api/chat", faces.ollama_chat, methods=["POST"]),
        Route("/api/generate", faces.ollama_generate, methods=["POST"]),
        Route("/api/tags", of_ollama.tags),
        Route("/api/ps", of_ollama.ps),
        Route("/api/show", of_ollama.show, methods=["POST"]),
        Route("/api/version", of_ollama.version),
    ]


def _short(path: str, endpoint: Endpoint, method: str = "POST") -> Iterator[Route]:
    """Clients of llama.cpp's server may leave /v1 out."""
    return (Route(prefix + path, endpoint, methods=[method]) for prefix in ("/v1", ""))


def _refuse(request: Request, error: Exception) -> Response:
    """What an endpoint raised before anything ran."""
    refused = as_api_error(error)
    if refused.code == "internal":
        log.error("%s failed", request.url.path, exc_info=error)
    known = {route.path for route in request.app.routes}  # others would be labels without end
    label = request.url.path if request.url.path in known else "other"
    request.app.state.service.metrics.refused(label, refused.status)
    return refusal(request.url.path, refused)


def _no_route(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    words = {404: "there is nothing at", 405: f"{request.method} is not taken at"}
    message = f"{words.get(status, 'the server refuses')} {request.url.path[:200]}"
    return refusal(request.url.path, ApiError(status, message, code="no_such_route"))


def _gone(request: Request, error: Exception) -> Response:
    return PlainTextResponse("", 499)  # nobody reads it


class Server(uvicorn.Server):
    """A signal stops it softly: nothing new, thinking ends, answers are written."""

    def __init__(self, app: Starlette, config: ServerConfig) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=config.host,
                port=config.port,
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=max(1, round(config.stop_timeout_s)),
                h11_max_incomplete_event_size=64 * 1024,
                server_header=False,
            )
        )
        self._service: Service = app.state.service
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: Any = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:  # not here: the signal may have come while a lock is held
            self._loop.call_soon_threadsafe(self._service.begin_stop)

    def listen(self) -> None:
        """Serves until a signal comes."""
        try:
            self.run()
        except SystemExit:  # it has logged why
            where = f"{self.config.host}:{self.config.port}"
            raise UsageError(
                f"cannot listen on {where}", "choose another --host or --port"
            ) from None

    @property
    def port(self) -> int:
        """The one that it listens on."""
        port: int = self.servers[0].sockets[0].getsockname()[1]
        return port
