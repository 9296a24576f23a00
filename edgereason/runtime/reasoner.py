"""Reasoner: an open model that answers. The only place where engines and strategies meet.

with Reasoner.open("smollm2-135m") as reasoner:
    answer = reasoner.ask("What is 17 * 3?", strategy="think", think_budget=128, deadline_ms=2000)
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from edgereason import engines
from edgereason.config import build, fields_of
from edgereason.errors import UnsupportedError, UsageError
from edgereason.keywords import Keywords, Prompt, request_of, spelled_out
from edgereason.models.bundle import Bundle, open_bundle
from edgereason.models.hub import resolve
from edgereason.planning import asked, calibration, here
from edgereason.planning.cost import KNOTS
from edgereason.prompt.chat import thinking_prompt
from edgereason.prompt.lowering import Words, prompt_tokens, text_of
from edgereason.records import Answer, Capability, Chunk, PhaseResult, Request, Tools
from edgereason.registry import load
from edgereason.runtime.backlog import DEFAULT_MOST
from edgereason.runtime.companion import guided, open_beside
from edgereason.runtime.driver import Driver
from edgereason.runtime.grammars import Grammars
from edgereason.runtime.kv_store import DEFAULT_MIB, KvCache
from edgereason.runtime.lengths import AnswerLengths
from edgereason.runtime.lines import Ticket
from edgereason.runtime.monitor import Monitor
from edgereason.runtime.stream import CallbackOutbox, OnChunk, Outbox
from edgereason.runtime.trace import Sink
from edgereason.strategies.base import Steps, Turn, choose

if TYPE_CHECKING:
    from typing_extensions import Unpack

_DRAFTED: Final = 8  # tokens that a draft model guesses at most, where nobody says how many


class Handle:
    """A request that is on its way. It goes on when this is let go. One whose answer is there keeps
    no model in memory."""

    def __init__(self, driver: Driver, ticket: Ticket) -> None:
        self._driver = weakref.ref(driver)  # its own thread keeps it while a request runs
        self._ticket = ticket

    def result(self, timeout: float | None = None) -> Answer:
        """Waits for the answer; `timeout` in seconds, then `TimeoutError`. The request goes on."""
        return self.future.result(timeout)

    @property
    def future(self) -> Future[Answer]:
        """For whoever waits in another way: callbacks, asyncio, `concurrent.futures.wait`."""
        self._check_here()
        return self._ticket.outbox.future

    @property
    def chains(self) -> tuple[tuple[PhaseResult, ...], ...]:
        """The phases so far, tokens included, by line of thought; the request's own first."""
        return tuple(tuple(line.results) for line in tuple(self._ticket.lines))

    def cancel(self) -> None:
        """Ends the request within one step; `result()` gives what was there."""
        if driver := self._driver():
            driver.cancel(self._ticket)

    def stop_thinking(self) -> None:
        """Ends thinking now; the answer follows."""
        if driver := self._driver():
            driver.stop_thinking(self._ticket)

    def __iter__(self) -> Iterator[Chunk]:
        """The text as it appears, of a request with `stream=True`. Raises what went wrong."""
        outbox = self.readable
        while (chunk := outbox.get()) is not None:
            yield chunk
        self.future.result()

    @property
    def readable(self) -> Outbox:
        """The outbox of a request whose text is to be read from here."""
        self._check_here()
        outbox = self._ticket.outbox
        if not outbox.streams:
            raise UsageError("this request does not stream", "submit it with stream=True")
        if isinstance(outbox, CallbackOutbox):
            raise UsageError("the text of this request goes to its on_chunk", "read it there")
        return outbox

    def _check_here(self) -> None:
        if driver := self._driver():
            driver.check_here()


class Reasoner:
    """An open model. Safe to use from several threads: requests run side by side.

    One that is let go without `close` is closed once its requests have ended, or with the program.
    The child of a fork cannot use it: there it raises.
    """

    def __init__(
        self,
        bundle: Bundle,
        engine: Any,
        *,
        threads: int = 0,
        park_tokens: int = -1,
        trace: Sink | None = None,
        cores: Sequence[int] = (),
        nice: int = 0,
        lock_memory: bool = False,
        lookahead: int = 0,
        most_requests: int = DEFAULT_MOST,
        opening: str = "",
        monitor: Monitor | None = None,
        kv_cache: KvCache | None = None,
        draft: Any = None,
    ) -> None:
        from edgereason import _core  # loads the native library
        from edgereason.runtime.adapters import Adapters
        from edgereason.runtime.prefixes import Prefixes

        self.bundle = bundle = asked.known(bundle)
        self.engine = engine
        self._switches: Mapping[Capability, str] = {}  # of the engine's module
        self._calibration = calibration.load(bundle)
        self._words = Words(engine)
        self._core = _core.Scheduler(
            engine,
            threads=threads,
            park_cells=park_tokens,
            cores=cores,
            nice=nice,
            lock_memory=lock_memory,
            lookahead=lookahead,
            draft=draft,
        )
        lengths = AnswerLengths(bundle, self._core)
        store = kv_cache.open(bundle, self._core, self.caps) if kv_cache else None
        self._start_from(opening)
        self._core.start()
        self.grammars = Grammars(engine)
        self._driver = Driver(
            self._core,
            engine,
            lengths,
            trace,
            most_requests,
            grammars=self.grammars,
            monitor=monitor,
            owner=self,
            store=store,
        )
        self._prefixes = Prefixes(bundle, self._core)
        self._adapters = Adapters(bundle, self._core, self.caps)

    @classmethod
    def open(
        cls,
        model: str | Path,
        *,
        engine: str | None = None,
        threads: int = 0,
        park_tokens: int = -1,
        trace: Sink | None = None,
        prefixes: Sequence[Path | str] = (),
        cores: Sequence[int] = (),
        nice: int = 0,
        lock_memory: bool = False,
        lookahead: int = 0,
        most_requests: int = DEFAULT_MOST,
        monitor: Monitor | None = None,
        kv_cache: str | Path | None = None,
        kv_cache_mib: int = DEFAULT_MIB,
        guide: str = "",
        draft: str = "",
        **options: Any,
    ) -> Reasoner:
        """Opens a model.

        Args:
            model: a name from the catalog, a path to a bundle or a `.gguf`, or
                `hf:owner/repo:QUANT`.
            engine: a file in `edgereason/engines/`; default: what the bundle was made for.
            threads: compute threads; 0 follows the load of the machine, where the engine can.
            park_tokens: how much of the context may hold prefixes of requests that asked to `keep`
                theirs;
                default an eighth.
            trace: is called with what happens to each request, see `trace.py`.
            prefixes: `.safetensors` files to load now, called what the files are called. Those in
                the bundle's folder `prefixes` are there without, and loaded when first asked for.
            cores: numbers of the cores that the decode threads may run on; none: any. No more
                threads than these run.
            nice: of the decode threads, -20 (most urgent) to 19; 0: as it is.
            lock_memory: once the model is open, keep all memory of this process in RAM.
            lookahead: tokens that are guessed from the text so far and checked in one step, at most
                32; 0: off. It rests where guesses do not pay.
            most_requests: how many may be on their way at once; a further one raises `BusyError`.
            kv_cache: a folder in which the KV of conversations that asked to `keep` theirs is kept,
                for the next process that opens this model. As trusted as the model itself.
            kv_cache_mib: what of it is kept at most; what was not used for longest goes.
            guide: a small model of the same vocabulary whose logits are added to this one's,
                `MODEL` or `MODEL:strength`, see `companion.py`.
            draft: a smaller model of the same vocabulary that guesses what follows; `lookahead` is
                8 then, where it is not given.
            monitor: sees thoughts as they are written and may stop them, see `monitor.py`.
            options: the engine's own options, e.g. `context=4096` or `kv="q8_0"` for llamacpp.

        Raises:
            ModelNotFoundError, BundleError, MemoryLimitError, UsageError
        """
        bundle = open_bundle(resolve(str(model)))
        opening = here.way_of_opening(engine or bundle.engine, options, threads)
        module = load(engines, engine or bundle.engine)
        names = {option.name for option in fields_of(module.Config)}
        if threads and "threads" in names:
            options["threads"], threads = threads, 0  # fixed while it is open; none to choose
        if (cores or nice) and "threads" in names:
            raise UnsupportedError(
                f"engine {engine or bundle.engine} computes on threads of its own, which cannot "
                "be given cores or a nice value",
                "start the whole process with them: taskset -c 2,3 nice -n 5 ...",
            )
        config = build(module.Config, options, what=f"option of engine {engine or bundle.engine}")
        opened = module.open(bundle, config)
        if guide:
            opened, opening = guided(opened, guide), f"{opening} guide={guide}"
        beside = open_beside(opened, draft, options.get("threads", 0)) if draft else None
        made = cls(
            bundle,
            opened,
            threads=threads,
            park_tokens=park_tokens,
            trace=trace,
            cores=cores,
            nice=nice,
            lock_memory=lock_memory,
            lookahead=lookahead or (_DRAFTED if draft else 0),
            draft=beside,
            most_requests=most_requests,
            kv_cache=KvCache.of(kv_cache, kv_cache_mib, config, guide),
            opening=opening,
            monitor=monitor,
        )
        made._switches = getattr(module, "switches", {})
        try:
            made._prefixes.add(prefixes)
        except BaseException:
            made.close()
            raise
        return made

    # -- asking ------------------------------------------------------------------------------------

    @spelled_out
    def ask(self, prompt: Prompt, **keywords: Unpack[Keywords]) -> Answer:
        """Answers and waits for it. The keywords are those of `Request` and `Budget`."""
        return self.submit(prompt, **keywords).result()

    @spelled_out
    def stream(self, prompt: Prompt, **keywords: Unpack[Keywords]) -> Handle:
        """Answers piece by piece: iterate over the handle, then ask it for the `result()`."""
        return self.submit(prompt, stream=True, **keywords)

    @spelled_out
    def submit(
        self,
        prompt: Prompt,
        *,
        stream: bool = False,
        on_chunk: OnChunk | None = None,
        **keywords: Unpack[Keywords],
    ) -> Handle:
        """Starts a request. Raises what is wrong with its first phase, for which the prompt is
        rendered and tokenized here; waits for nothing else.

        `on_chunk` is called with each piece of text, last with None, on a thread of its own: it may
        take long, and nobody else waits for it. If it raises, the request ends with that error.
        """
        ticket, begin = self._prepare(prompt, stream, on_chunk, keywords)
        self._driver.start(ticket, begin)
        return Handle(self._driver, ticket)

    @spelled_out
    def submit_soon(
        self,
        prompt: Prompt,
        *,
        stream: bool = False,
        on_chunk: OnChunk | None = None,
        **keywords: Unpack[Keywords],
    ) -> Handle:
        """Starts a request without waiting for its prompt to be rendered, for callers that must not
        block, such as event loops. What is wrong with its first phase comes out of the handle.
        """
        ticket, begin = self._prepare(prompt, stream, on_chunk, keywords)
        self._driver.start_soon(ticket, begin)
        return Handle(self._driver, ticket)

    def _prepare(
        self,
        prompt: Prompt,
        stream: bool,
        on_chunk: OnChunk | None,
        keywords: Keywords,
    ) -> tuple[Ticket, Callable[[], Steps]]:
        """A request that is ready to start, and what makes its strategy's generator."""
        arrival_ms = self._core.now_ms()
        request = request_of(prompt, **keywords)
        ticket = self._driver.ticket(
            request,
            model=self.bundle.name,
            arrival_ms=arrival_ms,
            streams=stream,
            on_chunk=on_chunk,
        )

        def begin() -> Steps:
            ticket.context_key = self._adapters.get(request.adapters)
            if request.prefix:
                ticket.prefix = self._prefixes.get(request.prefix)
            if request.grammar:
                ticket.shortest = self.grammars.get(request.grammar).shortest
            return self._steps(request, ticket)

        return ticket, begin

    def prompt_tokens(
        self, prompt: Prompt, *, thinking: bool | None = True, tools: Tools | None = None
    ) -> tuple[int, ...]:
        """What a prompt is to the model, up to where it goes on. `thinking`: as it is written for a
        model that thinks (True), that answers at once (False), as the template has it (None). A
        prefix's positions are not among them."""
        messages = request_of(prompt).messages
        functions = tools.functions if tools else None
        segments = thinking_prompt(self.bundle, messages, thinking, tools=functions).segments
        return prompt_tokens(segments, self.engine)

    def _start_from(self, opening: str) -> None:
        """Steps cost what `edgereason profile measure` found, where it opened the model so."""
        known = here.load_cost(self.bundle, opening)
        if known is not None:
            knot_ms = [known.step_ms.get(rows, 0.0) for rows in KNOTS]
            self._core.restore_cost(knot_ms, known.cell_ms)

    def _steps(self, request: Request, ticket: Ticket) -> Steps:
        num_prefix = ticket.prefix.num_positions if ticket.prefix else 0
        strategy = choose(request.strategy, request.options, self.bundle)
        self._check_needs(strategy.needs, request)
        wants = "call tools" if request.tools else "go on with an answer" if request.begun else ""
        if wants and not strategy.is_plain:
            raise UsageError(
                f"strategy {request.strategy} does not {wants}",
                "use think or no-think, or send none",
            )
        if request.grammar is not None and not strategy.takes_grammar:
            raise UnsupportedError(
                f"strategy {request.strategy} takes no grammar: its answer is not written by the "
                "model",
                "take strategy think, or leave out the grammar",
            )
        if Capability.TOKEN_ROWS in strategy.needs and self._adapters.changes_weights(
            ticket.context_key
        ):
            raise UnsupportedError(
                f"strategy {request.strategy} needs rows of tokens, which a LoRA may change",
                "leave the adapter or the strategy out",
            )
        engine = self.engine  # a request that runs does not hold the reasoner
        turn = Turn(
            bundle=self.bundle,
            messages=request.messages,
            budget=request.budget,
            sampling=request.sampling or self.bundle.sampling,
            stop=request.stop,
            probe_every=request.probe_every,
            context=self._context - num_prefix,
            count=lambda segments: len(prompt_tokens(segments, engine)),
            silenced=ticket.silence,
            is_alone=ticket.is_alone,
            calibration=self._calibration,
            grammar=request.grammar,
            words=self._words,
            tools=request.tools,
            begun=request.begun,
            logprobs=request.logprobs,
            text=partial(text_of, engine),
        )
        verbatim = strategy.verbatim or bool(request.begun)
        ticket.reads(turn.call_format, verbatim=verbatim)
        return strategy.run(turn)

    def _check_needs(self, needs: Capability, request: Request) -> None:
        if request.probe_every:
            needs |= Capability.FORK
        missing = needs & ~self.caps
        if missing:
            ways = [f"--engine-set {way}" for flag, way in self._switches.items() if flag & missing]
            raise UnsupportedError(
                f"strategy {request.strategy} needs {', '.join(missing.words)}, "
                f"which engine {self.bundle.engine} lacks",
                f"open the model with {' '.join(ways)}" if ways else "",
            )

    # -- the rest ----------------------------------------------------------------------------------

    @property
    def _context(self) -> int:
        """What the KV holds, or less where the model was trained for less."""
        cells: int = self.engine.info["num_cells"]
        return min(cells, self.bundle.context) if self.bundle.context else cells

    @property
    def caps(self) -> Capability:
        return Capability(self.engine.info["caps"])

    def stats(self) -> dict[str, Any]:
        """Counters of the scheduler; see `SchedulerStats` in `scheduler.h`."""
        self._driver.check_here()
        return self._core.stats()

    def wait_idle(self, timeout: float = 10.0) -> bool:
        """Waits until nothing runs; False when `timeout` seconds were not enough."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            if self.stats()["num_active"] == 0:
                return True
            time.sleep(0.001)
        return False

    @property
    def closed(self) -> bool:
        return self._driver.closed

    def close(self) -> None:
        """Ends what runs, with an error for those who wait, and frees the model."""
        self._driver.close()

    def __enter__(self) -> Reasoner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
