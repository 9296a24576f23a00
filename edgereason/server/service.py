"""From what a dialect has read to a request that runs: models, budgets, admission, figures.

    running = await service.start(given, messages, route="/v1/chat/completions", arrived=now)

Knows no dialect and no HTTP.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Final

from edgereason.errors import EdgereasonError, UsageError
from edgereason.grammars import Grammar
from edgereason.records import Answer, Message, Request, Sampling
from edgereason.runtime.reasoner import Reasoner
from edgereason.server.budgets import budget_of, raw_budget
from edgereason.server.completions import Raw
from edgereason.server.config import ServerConfig
from edgereason.server.conversation import apart
from edgereason.server.errors import ApiError, as_api_error
from edgereason.server.fields import Given
from edgereason.server.metrics import Metrics
from edgereason.server.models import Model, Models
from edgereason.server.running import Running, num_completion
from edgereason.server.scores import num_scores
from edgereason.server.tools import tools_of
from edgereason.strategies.base import choose, file_options

log = logging.getLogger("edgereason.server")

Asked = tuple[Message, ...] | Raw
"""What is asked: a conversation, or a text to go on with."""

_STRATEGY: Final = "think"  # of requests that name none
_SAMPLING: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "repetition_penalty",
    "logit_bias",
    "seed",
)


class Service:
    """The models, and the requests that run on them. For one event loop."""

    def __init__(self, models: Models, config: ServerConfig) -> None:
        self.models = models
        self.config = config
        self.running: dict[str, Running] = {}
        self.metrics = Metrics(self)
        self.is_stopping = False
        self.num_admitted = 0  # requests at a time, those included whose prompt is being counted

    async def start(
        self, given: Given, asked: Asked, *, route: str, arrived: float, index: int = 0
    ) -> Running:
        """Admits and starts a request. Raises what is wrong with it. `index`: which of several
        answers to the same it is to be.
        """
        model = self.models.named(given.get("model"))
        self._admit(model)
        try:
            reasoner = await self.models.opened(model)
            request, num_prompt = await self._request(given, asked, model, reasoner, arrived)
            if index:
                request = _reseeded(request, model, index)
            handle = reasoner.submit_soon(request, stream=True)
        except BaseException:
            self._leave(model)
            raise
        running = Running(
            model, given.get("model"), given, request, handle, route, arrived, self.metrics
        )
        running.num_prompt = num_prompt
        running.verbatim = isinstance(asked, Raw) or bool(request.begun)
        running.piece = reasoner.engine.piece
        self.running[running.id] = running
        loop, id = asyncio.get_running_loop(), running.id

        def ended(future: Future[Answer]) -> None:
            # By its id: a future keeps its callbacks, and would keep the model with them.
            loop.call_soon_threadsafe(self._ended, id, future)

        handle.future.add_done_callback(ended)
        return running

    def stop_thinking(self, id: str) -> bool:
        """Ends the thinking of one request; its answer follows. False: there is none of that id."""
        running = self._find(id)
        if running is not None:
            running.handle.stop_thinking()
        return running is not None

    def cancel(self, id: str) -> bool:
        running = self._find(id)
        if running is not None:
            running.cancel("control")
        return running is not None

    def begin_stop(self) -> None:
        """Nothing new is let in, and whoever thinks answers now."""
        self.is_stopping = True
        for running in tuple(self.running.values()):
            running.handle.stop_thinking()

    async def close(self) -> None:
        for running in tuple(self.running.values()):
            running.cancel("stop")
        await self.models.close_all()

    # -- parts -------------------------------------------------------------------------------------

    def _find(self, id: str) -> Running | None:
        """Dialects put a prefix of their own before the id."""
        return self.running.get(id.rpartition("-")[2].rpartition("_")[2])

    def _admit(self, model: Model) -> None:
        if self.is_stopping:
            raise ApiError(503, "the server is stopping", code="stopping", retry_after_s=10)
        if self.num_admitted >= self.config.max_requests:
            raise ApiError(
                429,
                f"{self.num_admitted} requests run or wait already (--max-requests)",
                code="queue_full",
                retry_after_s=1,
            )
        self.num_admitted += 1
        self.models.take(model)

    def _leave(self, model: Model) -> None:
        self.num_admitted -= 1
        self.models.leave(model)

    async def _request(
        self,
        given: Given,
        asked: Asked,
        model: Model,
        reasoner: Reasoner,
        arrived: float,
    ) -> tuple[Request, int]:
        """The request, and the tokens of its prompt."""
        await _check_grammar(given, reasoner)
        if isinstance(asked, Raw):
            return self._raw_request(given, asked, model, arrived), len(asked.tokens)
        messages, begun = apart(asked)
        tools = tools_of(given)
        strategy, options = given.get("strategy", _STRATEGY), given.get("options", {})
        named = {name.replace("-", "_") for name in options}
        for name in file_options(strategy):
            if name in named:
                raise ApiError(
                    400,
                    f"{name} names a file of this machine, which no client may",
                    param=given.name("options"),
                )
        chosen = choose(strategy, options, model.bundle)
        num_samples = getattr(chosen.config, "samples", 1)
        if num_samples > self.config.max_samples:
            raise ApiError(
                400,
                f"samples={num_samples} is more than this server runs for one request: "
                f"{self.config.max_samples} (--max-samples)",
                param=given.name("options"),
            )
        prompt = await asyncio.to_thread(reasoner.prompt_tokens, messages, tools=tools)
        budget = budget_of(
            given,
            context=model.context,
            is_bound=chosen.bound_by_context,
            prompt_tokens=len(prompt),
            config=self.config,
            passed_ms=1000 * (time.monotonic() - arrived),
        )
        request = Request(
            messages=messages,
            strategy=strategy,
            options=options,
            budget=budget,
            sampling=_sampling(given, model.bundle.sampling),
            priority=given.get("priority", given.get("tier", 0)),
            stop=given.get("stop", ()),
            probe_every=given.get("probe_every", 0),
            keep=True,
            prefix=given.get("prefix"),
            tools=tools,
            begun=begun,
            logprobs=num_scores(given),
            grammar=given.get("grammar"),
        )
        return request, len(prompt)

    def _raw_request(self, given: Given, raw: Raw, model: Model, arrived: float) -> Request:
        budget = raw_budget(
            given,
            context=model.context,
            prompt_tokens=len(raw.tokens),
            num_tokens=raw.num_tokens,
            passed_ms=1000 * (time.monotonic() - arrived),
        )
        return Request(
            messages=(Message("user", raw.text),),
            strategy="raw",
            options=raw.options,
            budget=budget,
            sampling=_sampling(given, model.bundle.sampling),
            priority=given.get("priority", given.get("tier", 0)),
            stop=given.get("stop", ()),
            logprobs=raw.scores,
            grammar=given.get("grammar"),
        )

    def _ended(self, id: str, future: Future[Answer]) -> None:
        running = self.running.pop(id)
        self._leave(running.model)
        error = future.exception()
        if error is None:
            self.metrics.ended(running, future.result())
            _log_answer(running, future.result())
        else:
            refused = as_api_error(error)
            self.metrics.refused(running.route, refused.status)
            _log_error(running, error, refused)


def _reseeded(request: Request, model: Model, index: int) -> Request:
    sampling = request.sampling or model.bundle.sampling
    return replace(request, sampling=replace(sampling, seed=(sampling.seed + index) % 2**64))


async def _check_grammar(given: Given, reasoner: Reasoner) -> None:
    """Compiles it, so that what is wrong with it names the field."""
    grammar: Grammar | None = given.get("grammar")
    if grammar is None:
        return
    name = given.name("grammar")
    if given.get("stop"):
        raise ApiError(
            400,
            f"{name} and {given.name('stop')} exclude each other: a form says where it ends",
            param=f"{name}, {given.name('stop')}",
            code="conflicting_parameters",
        )
    try:
        await asyncio.to_thread(reasoner.grammars.get, grammar)
    except UsageError as error:
        raise ApiError(400, f"{name}: {error}", param=name, code="unsupported_parameter") from None


def _sampling(given: Given, recommended: Sampling) -> Sampling:
    changes = {name: given.get(name) for name in _SAMPLING if given.get(name) is not None}
    if changes.get("top_k", 0) < 0:
        changes["top_k"] = 0  # -1 is how others say that it is off
    if "seed" in changes:
        changes["seed"] %= 2**64
    return replace(recommended, **changes)


# --- the log: one JSON object a request, no texts ------------------------------------------------


def _log_answer(running: Running, answer: Answer) -> None:
    _log(
        running,
        outcome=running.dropped or "answered",
        ended_by=answer.finish.value,
        thinking_ended_by=answer.budget.think_tokens.ended_by,
        prompt_tokens=answer.usage.prompt_tokens,
        cached_tokens=answer.usage.cached_tokens,
        reasoning_tokens=answer.usage.reasoning_tokens,
        completion_tokens=num_completion(answer),
        late_ms=round(answer.budget.deadline_ms.late_ms, 1),
    )


def _log_error(running: Running, error: BaseException, refused: ApiError) -> None:
    _log(running, outcome="failed", status=refused.status, error=refused.message[:200])
    if not isinstance(error, (EdgereasonError, ApiError)):
        log.error("%s failed", running.id, exc_info=error)


def _log(running: Running, **more: Any) -> None:
    line = {
        "event": "request",
        "id": running.id,
        "route": running.route,
        "model": running.model.name,
        "total_ms": round(running.age_ms, 1),
        **more,
    }
    log.info("%s", json.dumps(line))
