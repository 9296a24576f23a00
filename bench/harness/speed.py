"""One long answer, and how fast it came: what benches of speed ask and count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from edgereason.errors import EngineError
from edgereason.records import Sampling

if TYPE_CHECKING:
    from edgereason.runtime.reasoner import Reasoner

STORY: Final = "Write a long story about a lighthouse keeper and the sea, in many chapters."
FILLER: Final = "The sea was calm, and the keeper wrote the weather of the day into his book. "

Figures = Mapping[str, float]


def stay_on(reasoner: Reasoner, seed: int = 0, temperature: float = 0.0) -> Sampling:
    """Sampling under which an answer goes on to the end of its budget."""
    engine = reasoner.engine
    ends = {token: -1e9 for token in range(engine.info["num_vocab"]) if engine.ends(token)}
    return Sampling(temperature=temperature, seed=seed, logit_bias=ends)


def ask(reasoner: Reasoner, num_tokens: int, text: str = STORY) -> Figures:
    """One answer of `num_tokens` tokens, alone."""
    before = reasoner.stats()
    handle = reasoner.submit(
        text, strategy="no-think", answer_budget=num_tokens, sampling=stay_on(reasoner)
    )
    handle.result()
    reasoner.wait_idle()
    after = reasoner.stats()
    result = handle.chains[0][-1]
    if result.num_tokens != num_tokens or result.num_cached:
        raise EngineError(f"expected {num_tokens} tokens, got {result.num_tokens}")
    steps = after["num_steps"] - before["num_steps"]
    spent = {
        name: (after[name] - before[name]) / steps
        for name in ("decode_ms", "sample_ms", "overhead_ms")
    }
    return {
        "prompt_tokens": result.num_prompt,
        "prompt_tokens_per_s": 1000 * result.num_prompt / result.prefill_ms,
        # The last row of the prompt gives the first token.
        "decode_tokens_per_s": 1000 * (num_tokens - 1) / result.decode_ms,
        "sample_us": 1000 * spent["sample_ms"],
        "overhead_us": 1000 * spent["overhead_ms"],
        "scheduler_share": (spent["sample_ms"] + spent["overhead_ms"]) / sum(spent.values()),
    }
