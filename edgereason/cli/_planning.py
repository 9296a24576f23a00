"""What `plan`, `tune` and `profile` share: this device, sizes of models, files of options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgereason import files
from edgereason.errors import EdgereasonError, ModelNotFoundError, UsageError

if TYPE_CHECKING:
    from edgereason.planning.cost import Cost
    from edgereason.planning.estimate import Device
    from edgereason.planning.planner import Row
    from edgereason.planning.profile import Profile
    from edgereason.planning.sizes import Size


def open_device(name: str, mode: str, watts: float | None) -> Device:
    """A device by its profile. `here` is this machine: what was measured of it and of its models,
    else the profile that fits it."""
    from edgereason.planning.estimate import Device
    from edgereason.planning.profile import HERE, load_profile, power_mode

    if name != HERE:
        return Device(load_profile(name), mode=mode, watts=watts)
    profile = this_profile()
    now = mode or ("" if watts is not None else power_mode())
    known = now if any(each.name == now for each in profile.modes) else mode
    return Device(profile, mode=known, watts=watts, here=_measured_here)


def this_profile() -> Profile:
    from edgereason.planning.device import this_machine
    from edgereason.planning.profile import HERE, Profile, here_file, load_profile, matching_profile

    if here_file().is_file():
        return load_profile(HERE)
    machine = this_machine()
    found = matching_profile(machine)
    if found is not None:
        return found
    return Profile("this machine", "looked at, not measured", memory_gib=machine.memory_gib)


def _measured_here(size: Size) -> Cost | None:
    from edgereason.models.bundle import open_bundle
    from edgereason.models.hub import resolve
    from edgereason.planning.here import load_cost

    try:
        bundle = open_bundle(resolve(size.model))
    except EdgereasonError:
        return None
    if bundle.quantization.upper() != size.format:  # a format that was only thought of
        return None
    return load_cost(bundle)


def size_of(model: str) -> Size:
    """Of a model that is here, of one of the catalog that is not, or of a `config.json`."""
    from edgereason.models.bundle import open_bundle
    from edgereason.models.catalog import catalog
    from edgereason.models.hub import resolve
    from edgereason.planning.sizes import of_bundle, of_catalog

    path = Path(model).expanduser()
    if path.name == "config.json":
        return _of_config(path, model)
    try:
        return replace(of_bundle(open_bundle(resolve(model))), model=model)
    except EdgereasonError as error:
        if (path / "config.json").is_file():
            return _of_config(path / "config.json", model)
        if model not in catalog() or not isinstance(error, ModelNotFoundError):
            raise
        return of_catalog(model, catalog()[model])


def _of_config(path: Path, model: str) -> Size:
    """Parameters of the matrices that the shape names; vectors are too small to count."""
    from edgereason.export.sources.hf_config import architecture_of
    from edgereason.planning.sizes import of_shape

    try:
        config: Mapping[str, Any] = files.read_json(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None
    arch = architecture_of(config, bool(config.get("tie_word_embeddings", False)))
    heads = (arch.num_heads + arch.num_kv_heads) * arch.head_dim
    in_layer = 2 * arch.num_embd * heads + (2 if arch.name == "gpt2" else 3) * (
        arch.num_embd * arch.num_ff
    )
    embeddings = arch.num_vocab * arch.num_embd * (1 if arch.tied else 2)
    return of_shape(
        path.parent.name,
        model,
        num_parameters=float(arch.num_layers * in_layer + embeddings),
        kv_numbers=float(2 * arch.num_layers * arch.num_kv_heads * arch.head_dim),
        context=arch.context,
    )


def write_options(out: Path, rows: Sequence[Row], deadline_ms: float | None) -> None:
    """The first choice as a file for `edgereason --options`. Raises where none can be taken."""
    from edgereason.planning.trials import Way

    if not rows or rows[0].reasons:
        why = rows[0].reasons[0] if rows else "there are none"
        raise UsageError(f"no plan fits, nothing is written: {why}", "loosen a limit")
    best, way = rows[0], Way.parse(rows[0].way)
    run: dict[str, Any] = {"model": best.model, "strategy": way.name}
    serve: dict[str, Any] = {"model": best.model}
    if way.name == "vote":
        run["samples"] = way.samples
    elif way.budget is not None:
        run["think-budget"] = serve["max-think-tokens"] = way.budget
    if way.options:
        run["set"] = list(way.options)
    if deadline_ms is not None:
        run["deadline-ms"] = deadline_ms
    text = "# Written by `edgereason plan`; take it with: edgereason --options FILE run\n"
    for name, table in (("run", run), ("serve", serve)):
        lines = (f"{key} = {json.dumps(value)}" for key, value in table.items())
        text += "\n".join([f"\n[{name}]", *lines, ""])
    save_text(out, text)


def save_text(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
