"""The frozen records that cross floors: what is asked, how it is thought about, what comes back.

Plain data only: nothing here knows an engine, a tokenizer or a terminal. Token counts are integers,
times are milliseconds as float, probabilities natural logarithms unless the name says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum, Flag
from typing import Any

from edgereason.config import check_types
from edgereason.errors import UsageError
from edgereason.grammars import Grammar

UNLIMITED = -1
"""A budget without a limit. 0 switches thinking off."""


class Capability(Flag):
    """What an engine can do; a strategy states what it `needs`. As in `engine.h`."""

    NONE = 0
    LOGITS = 1
    FORK = 2
    TRIM = 4
    SAVE_KV = 8
    EMBED_IN = 16
    HIDDEN_OUT = 32
    PREFIX_KV = 64
    STEER = 128
    LORA = 256
    TOKEN_ROWS = 512

    @property
    def words(self) -> tuple[str, ...]:
        """What is in it, one by one, for people."""
        return tuple(str(one.name).lower() for one in Capability if one and one in self)


class StopReason(Enum):
    """Why a phase, or a whole request, ended."""

    STOP = "stop"
    BUDGET = "budget"
    DEADLINE = "deadline"
    STABLE = "stable"
    LOOP = "loop"
    CANCELLED = "cancelled"
    CONTEXT = "context"
    INTERRUPTED = "interrupted"  # stop_thinking was called; the answer still follows
    REFUSED = "refused"  # told at once, nothing begun: its deadline cannot be met beside the others


class Channel(Enum):
    """Which text a token belongs to."""

    ANSWER = "answer"
    REASONING = "reasoning"


class Role(Enum):
    """What the text of a phase is for. A strategy writes it; the runtime acts on it alone."""

    THINK = "think"  # thoughts
    ANSWER = "answer"  # what the caller gets; streamed as it appears
    DRAFT = "draft"  # an answer that may be thrown away: never streamed as the answer
    CARRY = "carry"  # text for the next phase, such as a summary; streamed with the thoughts
    PREFILL = "prefill"  # no text: the phase only fills the KV

    @property
    def channel(self) -> Channel:
        """Where the core counts the tokens: thoughts, and what is carried on from them, spend the
        thinking budget.
        """
        return Channel.REASONING if self in (Role.THINK, Role.CARRY) else Channel.ANSWER


def _require(ok: bool, message: str, hint: str = "") -> None:
    if not ok:
        raise UsageError(message, hint)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model calls, with what it hands over. `id` names the call in what
    follows: a result says which call it answers.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, slots=True)
class Tools:
    """Functions that the model may call.

    Attributes:
        functions: each as `{"name", "description", "parameters"}`, the last a JSON schema.
        required: it calls one. An answer that only says something cannot be given then.
        name: the one that it calls; "" leaves that to the model.
        parallel: it may call several in one answer.
    """

    functions: tuple[Mapping[str, Any], ...]
    required: bool = False
    name: str = ""
    parallel: bool = True

    def __post_init__(self) -> None:
        check_types(self)
        _require(bool(self.functions), "tools must hold at least one function")
        for function in self.functions:
            name = function.get("name")
            _require(
                isinstance(name, str) and bool(name),
                f"a function of tools needs a name, got {name!r}",
            )
        _require(len(set(self.names)) == len(self.names), "two functions of tools have one name")
        known = ", ".join(self.names)
        _require(
            self.name in ("", *self.names),
            f"no function is called {self.name!r}",
            f"known: {known}",
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(function["name"] for function in self.functions)

    @property
    def asked(self) -> bool:
        """A call is asked for."""
        return self.required or bool(self.name)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation.

    Attributes:
        role: system, user, assistant, or tool: what a function came to.
        reasoning: what the assistant thought before, where known.
        calls: functions that the assistant called.
        call_id: of a tool message: the call that it answers.
    """

    role: str
    content: str
    reasoning: str | None = None
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn from one row of logits.

    Order: penalties, bias, then greedy if `temperature` is 0; else temperature, top-k, top-p,
    min-p, one draw from a counter-based generator: token i of a request depends on `seed` and i
    alone, never on what else is in the batch.
    """

    temperature: float = 0.0
    top_k: int = 0  # 0: off
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0  # divides positive, multiplies negative logits of seen tokens
    presence_penalty: float = 0.0  # subtracted once from the logit of every seen token
    penalty_window: int = 64  # how many of the last tokens count as seen
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self, wide=("seed",))
        _require(
            math.isfinite(self.temperature) and self.temperature >= 0,
            f"temperature must be 0 or more, got {self.temperature}",
        )
        _require(self.top_k >= 0, f"top_k must be 0 (off) or more, got {self.top_k}")
        _require(0 < self.top_p <= 1, f"top_p must be in (0, 1], got {self.top_p}")
        _require(0 <= self.min_p <= 1, f"min_p must be in [0, 1], got {self.min_p}")
        _require(
            math.isfinite(self.repetition_penalty) and self.repetition_penalty > 0,
            f"repetition_penalty must be more than 0, got {self.repetition_penalty}",
        )
        _require(
            math.isfinite(self.presence_penalty),
            f"presence_penalty must be a finite number, got {self.presence_penalty}",
        )
        _require(
            self.penalty_window >= 0, f"penalty_window must be 0 or more, got {self.penalty_window}"
        )
        for token, bias in self.logit_bias.items():
            _require(bias < math.inf, f"logit bias must be a number, got {bias} for token {token}")
        _require(0 <= self.seed < 2**64, f"seed must be in [0, 2**64), got {self.seed}")


@dataclass(frozen=True, slots=True)
class Budget:
    """What one request may spend. `think_tokens` holds for each line of thought, and is cumulative
    over blocks that are opened again.

    Attributes:
        think_tokens: thinking tokens at most; -1 no limit, 0 no thinking.
        answer_tokens: answer tokens at most; this much room is kept free for the answer.
        total_tokens: thinking and answer together at most, of one line of thought. What thinking
            leaves of it is the answer's, beyond `answer_tokens`; -1 no such limit.
        deadline_ms: milliseconds from arrival to the end of the answer; None no deadline.
        soft: fraction of the think budget from which the end of thinking becomes likelier; 1 is a
            hard budget only.
    """

    think_tokens: int = UNLIMITED
    answer_tokens: int = 256
    total_tokens: int = UNLIMITED
    deadline_ms: float | None = None
    soft: float = 0.8

    def __post_init__(self) -> None:
        check_types(self)
        _require(
            self.think_tokens >= UNLIMITED,
            f"think budget must be -1 or more, got {self.think_tokens}",
            "-1 is no limit, 0 is no thinking",
        )
        _require(
            self.answer_tokens >= 1, f"answer budget must be 1 or more, got {self.answer_tokens}"
        )
        _require(
            self.total_tokens == UNLIMITED or self.total_tokens >= self.answer_tokens,
            f"total_tokens must be answer_tokens={self.answer_tokens} or more, "
            f"got {self.total_tokens}",
            "-1 is no such limit",
        )
        if self.deadline_ms is not None:
            _require(
                math.isfinite(self.deadline_ms) and self.deadline_ms > 0,
                f"deadline must be more than 0 ms, got {self.deadline_ms:g}",
                "leave it out for no deadline",
            )
        _require(0 <= self.soft <= 1, f"soft must be in [0, 1], got {self.soft}")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a rendered prompt. Only a `control` segment may contain control tokens."""

    text: str
    control: bool = True


@dataclass(frozen=True, slots=True)
class Probe:
    """Every `every` thinking tokens: fork, force `cue`, decode up to `tokens` greedily.

    Thinking ends as `stable` once `agree` probes in a row say the same (Dynasor, 2412.20993), or
    one ends by itself and is as sure as `sure` says: the geometric mean of its tokens'
    probabilities (DEER, 2504.15895); 1 is off.
    """

    every: int
    cue: str
    tokens: int = 8
    agree: int = 3
    sure: float = 1.0

    def __post_init__(self) -> None:
        _require(self.every >= 1, f"probe every must be 1 or more, got {self.every}")
        _require(self.tokens >= 1, f"probe tokens must be 1 or more, got {self.tokens}")
        _require(self.agree >= 1, f"probe agree must be 1 or more, got {self.agree}")
        _require(0 < self.sure <= 1, f"probe sure must be in (0, 1], got {self.sure}")


@dataclass(frozen=True, slots=True)
class Loop:
    """End thinking once it repeats one pattern of at most `max_period` tokens `repeats` times."""

    max_period: int = 64
    repeats: int = 4
    min_tokens: int = 32  # shortest repeated stretch that counts: short lists repeat by right

    def __post_init__(self) -> None:
        _require(self.max_period >= 1, f"loop max_period must be 1 or more, got {self.max_period}")
        _require(self.repeats >= 2, f"loop repeats must be 2 or more, got {self.repeats}")


@dataclass(frozen=True, slots=True)
class Blend:
    """Think in blends: what is fed next is the mean of the likeliest tokens' embeddings, weighted
    by their probability (Soft Thinking). The text of such a step is its heaviest token.

    Sampling decides which tokens and how heavy: temperature, top-k, top-p and min-p of the phase.
    At temperature 0 there is one token, which is plain thinking.

    Attributes:
        top: tokens in a blend at most, 64; 1 is plain thinking.
        noise: temperature of Gumbel noise on the weights; 0 is none. Without it the next step
            follows the heaviest token nearly always (2508.03440).
        dwell: 0: every step is a blend. Else blends and text take turns by entropy (SwiReasoning),
            and this many tokens of text at least lie between two stretches of blends.
        switches: turns after which thinking ends; 0 is no limit.
    """

    top: int = 10
    noise: float = 0.0
    dwell: int = 0
    switches: int = 0

    def __post_init__(self) -> None:
        _require(1 <= self.top <= 64, f"blend top must be in [1, 64], got {self.top}")
        _require(
            math.isfinite(self.noise) and self.noise >= 0,
            f"blend noise must be 0 or more, got {self.noise}",
        )
        for name in ("dwell", "switches"):
            _require(
                getattr(self, name) >= 0,
                f"blend {name} must be 0 or more, got {getattr(self, name)}",
            )


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of decoding that the native core runs by itself. Mirrors `Phase` in `phase.h`.

    Text fields are trusted template text: control tokens in them are parsed.
    """

    name: str  # for people, in traces and reports; nothing depends on it
    role: Role = Role.ANSWER
    # Start again from this prompt; the KV of the common prefix is kept.
    fresh: tuple[Segment, ...] | tuple[int, ...] | None = None  # or its tokens
    # Steps of thinking without tokens: the last hidden state is the next embedding. A phase with
    # them samples nothing; `close` is forced after the last.
    latent: int = 0
    retract: bool = False  # take the end mark that ended the phase before back out of the context
    # Put into the context, not sampled, before the phase begins. What a program or a database says
    # is not ours: it comes as a segment that is no `control`.
    force: str | tuple[Segment, ...] = ""
    budget: int = UNLIMITED  # tokens sampled at most in this phase
    total: int = UNLIMITED  # of it and the thinking before: what that leaves, `budget` grows by
    soft: float = 1.0  # fraction of the budget from which the first token of `close` is likelier
    # Thinking ends at the end of a sentence where the logit of `close`'s first token is no more
    # than so many nats below the best; 0: off.
    brake: float = 0.0
    open: tuple[str, ...] = ()  # texts that open a reasoning block in the middle of this phase
    shut: tuple[str, ...] = ()  # texts that end a reasoning block; they end a reasoning phase
    # Texts that open a call of a tool: they end a reasoning block, too, and are the beginning of
    # the answer behind it, which then has no `force`.
    call: tuple[str, ...] = ()
    close: str = ""  # forced when a reasoning block ends in any way but its own `shut`
    stop: tuple[str, ...] = ()  # further texts that end an answer phase
    owed: int = 0  # answer tokens owed by phases that do not follow by themselves
    kind: int = 0  # answers of one kind are of like length; the runtime numbers them
    logprobs: int = -1  # of each sampled token and so many of the likeliest, up to 20; -1: none
    score_prompt: bool = False  # the same of each token of `fresh`, whose KV is then not shared
    sampling: Sampling = Sampling()
    probe: Probe | None = None
    loop: Loop | None = None
    grammar: Grammar | None = None  # what an answer must look like; it ends where that does
    blend: Blend | None = None  # think in blends of tokens
    # Of a `PREFILL` phase: what might follow. How likely the first token of each is, is told.
    score: tuple[str, ...] = ()
    then: Phase | None = None  # follows by itself, without Python

    @property
    def channel(self) -> Channel:
        return self.role.channel


@dataclass(frozen=True, slots=True)
class PhaseResult:
    """What one phase did.

    Attributes:
        role, budget: those of the phase.
        num_tokens: tokens sampled in this phase, on either channel.
        num_reasoning: those of them that were thinking, and latent steps.
        num_latent: latent steps, which are no tokens, and tokens that were fed as blends.
        entropies: of the logits that each of `tokens` was drawn from, in nats.
        scores: natural logs of the probabilities of the phase's `score`, in its order.
        text: text of the phase's own channel, markers and stop texts left out.
        mark: the text of the phase's `shut` or `call` (thinking) or `stop` (answer) that ended
            it; "" where none did.
        reasoning: text of blocks that were re-opened in an answer phase.
        mean_logprob, min_logprob: of the sampled tokens, before temperature; 0 when nothing was
            sampled.
        mean_margin: mean of p(best) - p(second), in [0, 1].
        mean_entropy: nats.
        token_scores: with `logprobs` n of the phase, n + 1 for each token: (token, logprob), the
            token itself first, then the likeliest.
        prompt_scores: with `score_prompt` the same, from the second token of the prompt on.
        probe: text of the last probe that finished, or None.
        num_steps: decode calls that carried a row of this phase.
        num_drafted: tokens that `lookahead` guessed; num_accepted: those that were sampled then.
        num_probe_tokens: tokens sampled by probes, which belong to no budget but cost time.
    """

    name: str
    reason: StopReason
    text: str
    role: Role = Role.ANSWER
    budget: int = UNLIMITED
    reasoning: str = ""
    mark: str = ""
    tokens: tuple[int, ...] = ()
    entropies: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    num_reasoning: int = 0
    num_latent: int = 0
    mean_logprob: float = 0.0
    min_logprob: float = 0.0
    mean_margin: float = 0.0
    mean_entropy: float = 0.0
    token_scores: tuple[tuple[int, float], ...] = ()
    prompt_scores: tuple[tuple[int, float], ...] = ()
    probe: str | None = None
    num_probe_tokens: int = 0
    num_steps: int = 0
    num_drafted: int = 0
    num_accepted: int = 0
    num_prompt: int = 0  # tokens that `fresh` and `force` put into the context
    num_cached: int = 0  # those of them whose KV was already there
    num_cells: int = 0  # KV cells that its line of thought held when the phase ended
    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0

    @property
    def channel(self) -> Channel:
        return self.role.channel

    @property
    def num_tokens(self) -> int:
        return len(self.tokens)

    @property
    def confidence(self) -> float:
        """Geometric mean of token probability, damped by the mean margin; in [0, 1], 0 when nothing
        was sampled.
        """
        if not self.tokens:
            return 0.0
        return math.sqrt(math.exp(self.mean_logprob) * max(self.mean_margin, 0.0))


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer that was considered, and how much speaks for it."""

    answer: str
    votes: int = 1
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0  # of all lines of thought together
    latent_tokens: int = 0  # those of them that were latent steps
    answer_tokens: int = 0
    peak_cells: int = 0  # KV cells that one line of thought held at most


@dataclass(frozen=True, slots=True)
class ThinkReport:
    """The thinking budget of a request, and what became of it.

    Attributes:
        asked: `Budget.think_tokens`.
        effective: what was in force. The phases that thought had budgets of their own, set by the
            strategy: their sum, or `asked` where that is tighter, or where no phase thought.
        used: by the longest line of thought; never more than `effective`, unless that is -1.
        ended_by: why the last thought ended; "prompt" where the conversation itself switched off
            what was asked for, as `/no_think` in a system message does.
    """

    asked: int = UNLIMITED
    effective: int = UNLIMITED
    used: int = 0
    ended_by: str = "stop"


@dataclass(frozen=True, slots=True)
class AnswerReport:
    """The answer budget of a request, and what became of it.

    Attributes:
        asked: `Budget.answer_tokens`.
        effective: what was in force: the budget of the last phase that answered. A strategy lowers
            it where the context is short. `asked` where no phase came to answer.
        used: tokens of the longest answer; of several lines of thought each gives one.
        ended_by: why the answer ended, or what kept it from being written.
    """

    asked: int = 256
    effective: int = 256
    used: int = 0
    ended_by: str = "stop"


@dataclass(frozen=True, slots=True)
class DeadlineReport:
    """`share` is `used` of `asked`: little of it means that more could have been thought."""

    asked: float | None = None
    used: float = 0.0
    late_ms: float = 0.0
    share: float | None = None


@dataclass(frozen=True, slots=True)
class BudgetReport:
    think_tokens: ThinkReport = ThinkReport()
    deadline_ms: DeadlineReport = DeadlineReport()
    answer_tokens: AnswerReport = AnswerReport()


@dataclass(frozen=True, slots=True)
class Timings:
    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    think_ms: float = 0.0
    answer_ms: float = 0.0
    total_ms: float = 0.0  # from the arrival of the request; the model is already open
    tokens_per_s: float = 0.0  # sampled tokens of all lines over total_ms less queue and prefill


@dataclass(frozen=True, slots=True)
class PhaseReport:
    name: str
    tokens: int
    reason: str
    ms: float
    role: str = Role.ANSWER.value


@dataclass(frozen=True, slots=True)
class Energy:
    """What the machine took from the arrival of a request to its answer, other requests and
    programs included; only where it has a meter.

    Attributes:
        joules: idle power included.
        joules_per_token: of tokens that were sampled.
        idle_watts: of the machine at rest; None where it has not rested since it was opened.
        above_idle_joules: less what it would have taken at rest.
        rails: joules by rail, `ina3221.VDD_IN`.
        meter: `ina3221`, `rapl`, ...
        scope: what of the machine the meter sees.
    """

    joules: float
    joules_per_token: float
    meter: str
    scope: str
    rails: Mapping[str, float] = field(default_factory=dict)
    idle_watts: float | None = None
    above_idle_joules: float | None = None


@dataclass(frozen=True, slots=True)
class ChainReport:
    """One line of thought of a request, of those that `explain` asks for.

    Attributes:
        parent: place of the line that forked it, in `Answer.chains`; -1: the request's own line.
        answer: what it came to.
        ended_by: why it ended; "given up" where others were enough.
        phases: what it did, in order.
        prompt_tokens, cached_tokens: that its phases put into its context; of them, those whose KV
            was there.
    """

    parent: int = -1
    answer: str = ""
    ended_by: str = "stop"
    confidence: float | None = None
    phases: tuple[PhaseReport, ...] = ()
    prompt_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a request and what it cost. `to_dict()` is the documented JSON object."""

    answer: str
    reasoning: str = ""
    strategy: str = ""
    model: str = ""
    finish: StopReason = StopReason.STOP
    usage: Usage = Usage()
    budget: BudgetReport = BudgetReport()
    timings: Timings = Timings()
    confidence: float | None = None
    candidates: tuple[Candidate, ...] = ()
    phases: tuple[PhaseReport, ...] = ()
    calls: tuple[ToolCall, ...] = ()  # of functions, in a request with tools; no part of `answer`
    note: str = ""  # what the strategy has to say of how it decided
    chains: tuple[ChainReport, ...] = ()  # of a request that asked to `explain`
    energy: Energy | None = None  # None: there is no meter

    def to_dict(self) -> dict[str, Any]:
        data = asdict(self)
        data["finish"] = self.finish.value
        data["candidates"] = list(data["candidates"])
        data["phases"] = list(data["phases"])
        data["chains"] = [{**chain, "phases": list(chain["phases"])} for chain in data["chains"]]
        if self.energy is None:
            del data["energy"]
        data["calls"] = list(data["calls"])
        return data


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of streamed text. Never splits a UTF-8 character, never holds part of a marker. Or a
    call of a function, once all of it is there; `text` is "" then.
    """

    channel: Channel
    text: str
    call: ToolCall | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One question and how it may be answered.

    Attributes:
        messages: the conversation; its last message is the question.
        strategy: name of a file in `edgereason/strategies/`, with - or _.
        options: the strategy's own options, checked against its `Config`.
        priority: higher is more urgent; a higher one pauses a lower one between two tokens.
        stop: texts that end the answer.
        keep: keep the KV of this conversation, so that its next turn need not read it again, nor
            the next request what its prompts begin with.
        probe_every: look ahead every so many thinking tokens and stop when the answer is stable; 0
            is off.
        grammar: what the answer must look like; thoughts are free.
        prefix: a trained prefix that stands before the prompt: the name of one that the bundle or
            `Reasoner.open` has, or a `.safetensors` file.
        tools: functions that the model may call.
        begun: what the answer begins with: the model goes on from there, and the answer is what
            follows.
        logprobs: how likely each token of the answer was, and so many of the likeliest, up to 20:
            in `PhaseResult.token_scores`. -1 is off.
        adapters: control vectors and LoRA adapters (GGUF) that are in force for this request alone,
            each FILE or FILE:strength.
        explain: report every line of thought in `Answer.chains`; `runtime/explain.py` shows them.
    """

    messages: tuple[Message, ...]
    strategy: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    budget: Budget = Budget()
    sampling: Sampling | None = None  # None: what the bundle recommends
    priority: int = 0
    stop: tuple[str, ...] = ()
    probe_every: int = 0
    keep: bool = False
    prefix: str | None = None
    grammar: Grammar | None = None
    adapters: tuple[str, ...] = ()
    explain: bool = False
    tools: Tools | None = None
    begun: str = ""
    logprobs: int = -1

    def __post_init__(self) -> None:
        check_types(self)
        _require(-1 <= self.logprobs <= 20, f"logprobs must be -1 (off) to 20, got {self.logprobs}")
        _require(bool(self.messages), "a request needs at least one message")
        _require(
            not (self.begun and self.tools and (self.tools.required or self.tools.name)),
            "an answer that was begun cannot be made to call a function",
            "leave one of them out",
        )
        _require("" not in self.stop, "a text that ends the answer must not be empty, got ''")
        _require(
            not (self.stop and self.grammar),
            f"an answer with a grammar ends where that does, not at a stop text, got {self.stop}",
            "leave out one of them",
        )
        _require(
            self.probe_every >= 0, f"probe_every must be 0 (off) or more, got {self.probe_every}"
        )


def messages_of(prompt: str | Sequence[Message]) -> tuple[Message, ...]:
    """A prompt as messages: a string is one user message."""
    if not isinstance(prompt, (str, Sequence)):
        raise UsageError(f"a prompt is a text or a list of messages, got {prompt!r}")
    return (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
