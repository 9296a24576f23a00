"""`edgereason show`: all that is known of a model without loading it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgereason.cli import _card
from edgereason.cli._options import DEFAULT_MODEL, Debug, Json, flag, models_like
from edgereason.cli._screen import json_object, mib, say
from edgereason.config import env_name
from edgereason.errors import ModelNotFoundError
from edgereason.planning import effort
from edgereason.prompt.families import variables
from edgereason.records import UNLIMITED, Sampling

if TYPE_CHECKING:
    from edgereason.models.bundle import Bundle

# A text that only templates of one family write -> the family's name.
_TEMPLATES: Final = (
    ("<|start|>", "Harmony"),
    ("<|im_start|>", "ChatML"),
    ("<|start_header_id|>", "Llama 3"),
    ("<start_of_turn>", "Gemma"),
    ("<\uff5cUser\uff5c>", "DeepSeek"),
    ("[INST]", "Mistral"),
    ("<|START_OF_TURN_TOKEN|>", "Command"),
    ("<|user|>", "Zephyr"),
)


def command(
    model: Annotated[
        str,
        typer.Argument(
            help="A name of `edgereason list`, or a path.",
            envvar=env_name("model"),
            autocompletion=models_like,
        ),
    ] = DEFAULT_MODEL,
    verify: Annotated[
        bool, flag("--verify", "Compare the files' sha256 with the bundle's; reads them all.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what is known of a model: size, context, how it thinks, what an effort means."""
    from edgereason.models import bundle as bundles
    from edgereason.models.catalog import catalog
    from edgereason.models.hub import resolve
    from edgereason.models.prefix_file import bundled
    from edgereason.planning import asked

    try:
        path = resolve(model)
    except ModelNotFoundError:
        if model not in catalog() or verify:
            raise
        _show_card(model, as_json)
        return
    bundle = asked.known(bundles.open_bundle(path))
    if verify:
        bundles.verify(bundle)
    family = template_family(bundle.chat_template)
    if as_json:
        more = {
            "template_family": family,
            "effort_tokens": effort.table(bundle.context),
            "verified": verify,
            "prefixes": list(bundled(bundle.path)),
            "from": _card.origin(bundle),
        }
        json_object.say(bundles.to_dict(bundle) | more)
        return
    rows = {name: value for name, value in _rows(bundle, family) if value}
    if prefixes := bundled(bundle.path):
        rows["prefixes"] = ", ".join(prefixes)
    if verify:
        rows["verified"] = "all files are what the bundle promises"
    _say_rows(rows.items())


def _show_card(name: str, as_json: bool) -> None:
    """Of a model of the catalog that is not here."""
    from edgereason.models.catalog import catalog

    entry = catalog()[name]
    if as_json:
        json_object.say(_card.to_dict(name, entry))
    else:
        _say_rows([row for row in _card.rows(name, entry) if row[1]])


def _say_rows(rows: Collection[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name:<{width}}  {value}")


def template_family(template: str) -> str:
    """A name for how the template writes turns; "" without one, "other" where it has no name."""
    return next(
        (name for text, name in _TEMPLATES if text in template), "other" if template else ""
    )


def _rows(bundle: Bundle, family: str) -> Iterator[tuple[str, str]]:
    yield "name", bundle.name
    yield "path", str(bundle.path)
    yield "from", _card.origin(bundle)
    yield "base model", bundle.base_model
    yield "licence", bundle.licence or "unknown"
    yield "engine", bundle.engine
    yield "architecture", bundle.architecture
    yield "parameters", f"{bundle.num_parameters / 1e6:,.0f} M" if bundle.num_parameters else ""
    yield "size", mib(sum(file.size_bytes for file in bundle.files))
    yield "quantization", bundle.quantization
    yield "context", f"{bundle.context:,} tokens" if bundle.context else "unknown"
    yield "KV cache", ", ".join(_kv(bundle))
    yield "chat template", family or "none"
    yield from _reasoning_rows(bundle)
    yield "sampling", _sampling(bundle.sampling)
    yield "recommended", "; ".join(_recommended(bundle))
    yield "variant", _variant(bundle)
    yield (
        "effort",
        ", ".join(f"{name} {_tokens(n)}" for name, n in effort.table(bundle.context).items()),
    )


def _kv(bundle: Bundle) -> Iterator[str]:
    for kind, size in bundle.kv_bytes_per_token.items():
        yield f"{kind} {size / 1024:.1f} KiB a token ({mib(size * bundle.context)} for all)"


def _reasoning_rows(bundle: Bundle) -> Iterator[tuple[str, str]]:
    reasoning = bundle.reasoning
    yield "reasoning", f"{reasoning.kind.value}, switched by {reasoning.switch.value}"
    yield "  on", _shown(reasoning.on)
    yield "  off", _shown(reasoning.off)
    yield "  opens with", ", ".join(map(repr, reasoning.opens))
    yield "  ends with", ", ".join(map(repr, reasoning.shuts))
    yield "  found by", reasoning.found
    yield "  is closed by", repr(reasoning.close) if reasoning.close else ""
    yield "  answer cue", repr(reasoning.answer) if reasoning.answer else ""
    yield "  answer ends with", repr(reasoning.answer_end) if reasoning.answer_end else ""
    yield "  dials", "; ".join(_dials(reasoning.dials))
    yield "  probed by", repr(reasoning.probe) if reasoning.probe else ""


def _dials(dials: Mapping[str, Any]) -> Iterator[str]:
    """What a thinking budget sets them to."""
    levels = variables().levels
    for name, values in dials.items():
        if values == "tokens":
            yield f"{name}: the budget"
            continue
        told = (f"{value} from {levels[level]:,}" for level, value in values.items())
        yield f"{name}: {', '.join(told)} tokens"


def _recommended(bundle: Bundle) -> Iterator[str]:
    for strategy, options in bundle.recommended.items():
        told = ", ".join(f"{name} {value}" for name, value in options.items())
        yield f"{told} for --strategy {strategy.replace('_', '-')}"


def _variant(bundle: Bundle) -> str:
    if bundle.variant is None:
        return ""
    values = asdict(bundle.variant)
    kind = values.pop("kind")
    told = ", ".join(f"{name} {value!r}" for name, value in values.items())
    return f"{kind} ({told}): ask it with --strategy {kind}"


def _shown(mode: Any) -> str:
    """What a prompt gets: only what is set."""
    parts = {name: value for name, value in asdict(mode).items() if value}
    return (
        ", ".join(f"{name} {value!r}" for name, value in parts.items()) or "the template as it is"
    )


def _sampling(sampling: Sampling) -> str:
    """What differs from plain greedy decoding."""
    plain = asdict(Sampling())
    changed = {name: value for name, value in asdict(sampling).items() if value != plain[name]}
    return ", ".join(f"{name} {value}" for name, value in changed.items()) or "greedy"


def _tokens(num: int) -> str:
    return "unlimited" if num == UNLIMITED else str(num)
