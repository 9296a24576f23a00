"""`edgereason distill-prefix`: train a ReasonCACHE prefix from demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from edgereason.cli._options import Debug, Json, flag
from edgereason.cli._screen import json_object, say
from edgereason.cli._stages import stages

if TYPE_CHECKING:
    from edgereason.models.prefix_file import Prefix


def command(
    *,
    base: Annotated[str, flag("--base", "A folder of Hugging Face's, a GGUF, or a model's name.")],
    demos: Annotated[Path, flag("--demos", 'JSON lines: {"prompt": ..., "reply": ...}.')],
    slots: Annotated[int, flag("--slots", "Tokens of context that the prefix takes.")],
    out: Annotated[Path, flag("--out", "File to write, e.g. skill.safetensors.")],
    steps: Annotated[int, flag("--steps", "Of the optimizer.")] = 1000,
    lr: Annotated[float, flag("--lr", "Highest learning rate.")] = 1e-2,
    batch: Annotated[int, flag("--batch", "Demonstrations of a step.")] = 16,
    seed: Annotated[int, flag("--seed", "Of the random numbers.")] = 0,
    threads: Annotated[int, flag("--threads", "Of torch; 0: as many as it takes.")] = 0,
    thinking: Annotated[
        bool | None,
        flag(
            "--thinking/--no-thinking",
            "How prompts end [thinking where some reply opens a thought].",
        ),
    ] = None,
    task: Annotated[str, flag("--task", "What it teaches, for people.")] = "",
    force: Annotated[bool, flag("--force", "Replace the file that --out names.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Train keys and values that stand in front of a frozen model's cache.

    Beside --out lie a log and a plot of the loss. The same command goes on with a training that was
    stopped.
    """
    from edgereason.export.offline import needs_extra

    with needs_extra("training", "export,recipes"):
        from edgereason.export.prefixes.distill import Options, distill
        from edgereason.export.sources.open import open_source

        options = Options(slots, steps, lr, batch, seed, threads, thinking, task)
        with open_source(base) as source, stages() as progress:
            made = distill(source, demos, out, options, progress, force=force)
    _tell(made, out, as_json=as_json)


def _tell(made: Prefix, out: Path, *, as_json: bool) -> None:
    told = {
        "path": str(out),
        "name": made.name,
        "base": made.base,
        "slots": made.num_positions,
        "bytes": out.stat().st_size,
        **made.training,
    }
    if as_json:
        json_object.say(told)
    else:
        say(
            f"{out}: {made.num_positions} slots, loss {told['loss_begin']} -> {told['loss']} in "
            f"{told['steps']} steps, {told['seconds']} s"
        )
