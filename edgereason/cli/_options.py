"""Options as dataclasses that commands share: declared once, environment twins included.

@with_options
def command(prompt: str, *, opening: Opening) -> None:   # gets --model, --engine, --threads, ...
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any

import typer

from edgereason.config import Option, build, env_name, fields_of

DEFAULT_MODEL = "smollm2-135m"


def flag(name: str, help: str, **more: Any) -> Any:
    """A typer option with its environment twin, for a single parameter."""
    return typer.Option(
        name, help=help, envvar=env_name(name.partition("/")[0]), show_envvar=False, **more
    )


def models_like(incomplete: str) -> list[str]:
    """For the shell: names of models that are here, ours and other programs'."""
    from edgereason.models.hub import cached
    from edgereason.models.stores import find_all

    names = {*cached(), *(each.name for each in find_all() if not each.why_not)}
    return sorted(name for name in names if name.startswith(incomplete))


def pullable_like(incomplete: str) -> list[str]:
    """For the shell: names of the catalog."""
    from edgereason.models.catalog import catalog

    return sorted(name for name in catalog() if name.startswith(incomplete))


Json = Annotated[bool, flag("--json", "Print one JSON object, errors included.")]
Debug = Annotated[bool, flag("--debug", "Show the traceback of an error.")]


def _declared(default: Any, help: str, *names: str) -> Any:
    """A field that is an option. `names`: where they are not just the field's own."""
    return field(default=default, metadata={"help": help, "names": names})


@dataclass(frozen=True, slots=True)
class Opening:
    """Which model, and how it is opened. What is None is left to the engine."""

    model: str = _declared(
        DEFAULT_MODEL,
        "A name of `edgereason list --all`, a path, or hf:owner/repo:QUANT.",
        "--model",
        "-m",
    )
    engine: str | None = _declared(None, "Engine [the one the bundle was made for]")
    threads: int = _declared(0, "Compute threads; 0 follows the load of the machine.")
    cores: str | None = _declared(
        None, "Cores that the decode threads may run on, such as 2,3 or 4-7 [any]"
    )
    nice: int = _declared(0, "Nice value of the decode threads, -20 to 19; 0 is as it is.")
    lookahead: int = _declared(
        0, "Tokens guessed from the text so far and checked in one step, at most; 0 is off."
    )
    context: int | None = _declared(None, "Tokens of KV cache, shared by all that run.")
    kv: str | None = _declared(None, "Type of the KV cache: f16 or q8_0.")
    gpu_layers: int | None = _declared(None, "Layers on the GPU; -1 is all.")
    lora: tuple[str, ...] = _declared(
        (), "LoRA adapter for the model, FILE or FILE:scale; may be repeated."
    )
    guide: str | None = _declared(
        None, "A small model whose logits are added to this one's, MODEL or MODEL:strength."
    )
    draft: str | None = _declared(
        None, "A smaller model of the same vocabulary that guesses what follows; no token changes."
    )
    engine_options: tuple[str, ...] = _declared(
        (), "Any other option of the engine as name=value; may be repeated.", "--engine-set"
    )
    trace: str | None = _declared(None, "File to append to what happens: one JSON object a line.")


@dataclass(frozen=True, slots=True)
class Asking:
    """How a question is to be answered. What is None is left to the bundle."""

    strategy: str | None = _declared(None, "Way of thinking, see `edgereason strategies` [auto]")
    options: tuple[str, ...] = _declared(
        (), "Option of the strategy as name=value; may be repeated.", "--set"
    )
    think_budget: int | None = _declared(None, "Thinking tokens at most; -1 no limit, 0 off [-1]")
    answer_budget: int = _declared(256, "Answer tokens at most.")
    soft: float = _declared(
        0.8, "Share of the think budget from which its end becomes likelier; 1 is a hard budget."
    )
    deadline_ms: float | None = _declared(None, "Milliseconds until the answer must be there.")
    effort: str | None = _declared(
        None, "none, minimal, low, medium, high, xhigh or max; `edgereason show` has the budgets."
    )
    priority: int = _declared(0, "Higher is more urgent.")
    samples: int | None = _declared(None, "Chains of thought that vote; implies --strategy vote.")
    seed: int | None = _declared(None, "Of the random numbers.")
    temperature: float | None = _declared(None, "0 takes the likeliest token.")
    top_p: float | None = _declared(None, "Draw among the likeliest tokens of this share together.")
    top_k: int | None = _declared(None, "Draw among this many tokens; 0 is off.")
    min_p: float | None = _declared(
        None, "Draw among tokens at least this likely, relative to the best."
    )
    stop: tuple[str, ...] = _declared((), "Text that ends the answer; may be repeated.")
    probe_every: int = _declared(
        0, "Look ahead every so many thinking tokens, stop once the answer is stable; 0 is off."
    )
    system: str | None = _declared(None, "System message.")
    prefix: str | None = _declared(None, "Trained prefix before the prompt: a name, or a file.")
    json_schema: str | None = _declared(
        None, "JSON schema of the answer, as text or in a file; {} is any JSON."
    )
    choice: tuple[str, ...] = _declared((), "A text the answer may be; given for each of them.")
    regex: str | None = _declared(None, "Regular expression that the whole answer matches.")
    grammar: str | None = _declared(
        None, "Grammar of the answer, as text or in a file: GBNF, or Lark."
    )
    adapters: tuple[str, ...] = _declared(
        (),
        "Control vector or LoRA adapter for this question, FILE or FILE:strength; may be repeated.",
        "--adapter",
    )


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Shows typer the fields of dataclass parameters as options.

    Values stay text until `config.build` makes them what the field is, so that a wrong one gets the
    same message as in a file or in `--set`.
    """
    signature = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        p.name: p.annotation for p in signature.parameters.values() if is_dataclass(p.annotation)
    }
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.name in groups:
            parameters += map(
                _parameter, fields(parameter.annotation), fields_of(parameter.annotation)
            )
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(command)
    def expanded(**values: Any) -> None:
        for name, group in groups.items():
            given = {f.name: values.pop(f.name) for f in fields(group)}
            values[name] = build(
                group, {key: value for key, value in given.items() if value is not None}
            )
        command(**values)

    expanded.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by inspect
    expanded.__annotations__ = {p.name: p.annotation for p in parameters}
    return expanded


def _parameter(declared: Any, option: Option) -> inspect.Parameter:
    """One field as a parameter of typer's. None: not given."""
    names = declared.metadata["names"] or (f"--{option.name.replace('_', '-')}",)
    many = isinstance(option.default, tuple)
    info = typer.Option(
        *names,
        help=f"{option.help} [{option.default}]" if option.default else option.help,
        envvar=env_name(names[0]),
        show_envvar=False,
        show_default=False,
        autocompletion=models_like if option.name == "model" else None,
        metavar="TEXT" if many else option.type_name.removesuffix(" or none").upper(),
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[list[str] | None if many else str | None, info],
        default=None,
    )
