"""`edgereason doctor`: is this machine ready, and how fast? Each line is ok, or says what to do;
`--fix` prints what can be done as commands, and runs none of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Final

from edgereason import __version__
from edgereason.cli._options import DEFAULT_MODEL, Debug, Json, flag
from edgereason.cli._screen import json_object, say
from edgereason.errors import EdgereasonError
from edgereason.planning.device import calm_threads

_LOW_MEMORY_GIB: Final = 1.0
_LOW_DISK_GIB: Final = 1.0


_PULL: Final = (f"edgereason pull {DEFAULT_MODEL}",) * 2  # what to do, and the command


@dataclass(frozen=True, slots=True)
class Check:
    """One line. `way_out` says what to do about it, empty where all is well; `fix` is the command
    that does it, where one does."""

    name: str
    value: str
    way_out: str = ""
    fix: str = ""

    @property
    def line(self) -> str:
        mark = "warn" if self.way_out else "ok  "
        return f"{mark} {self.name}: {self.value}" + (f" ({self.way_out})" * bool(self.way_out))


def command(
    fix: Annotated[bool, flag("--fix", "Print the commands that mend what is wrong.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check this machine: cores, memory, GPU, engines, model cache, and the time of a step."""
    found = []
    for check in _checks():
        found.append(check)
        if not as_json and not fix:
            say(check.line)
    if fix and not as_json:
        _say_fixes(found)
    if as_json:
        json_object.say({"checks": [asdict(check) for check in found]})


def _say_fixes(checks: Sequence[Check]) -> None:
    """As a script: what no command mends is a comment."""
    wrong = [check for check in checks if check.way_out]
    told: set[str] = set()
    for check in wrong:
        if check.fix not in told:
            say(f"# {check.name}: {check.value}" + f" ({check.way_out})" * (not check.fix))
        if check.fix and check.fix not in told:
            say(check.fix)
            told.add(check.fix)
    if not wrong:
        say("# nothing to mend")


def _checks() -> Iterator[Check]:
    yield Check("edgereason", __version__)
    yield from _machine()
    yield from _engine()
    yield from _cache()
    yield from _guarded("step", _step)


def _guarded(name: str, run: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    """What fails is a finding, too."""
    try:
        yield from run()
    except EdgereasonError as error:
        yield Check(name, error.message, error.hint or "run it again with --debug")


def _machine() -> Iterator[Check]:
    import psutil

    from edgereason.planning import gpu
    from edgereason.planning.device import this_machine
    from edgereason.planning.profile import matching_profile

    machine = this_machine()
    yield Check("processor", f"{machine.cpu}, {machine.machine}, {machine.num_cores} cores")
    busy = psutil.cpu_percent(interval=0.3) / 100
    crowded = "the cores are busy: answers take longer" if busy > 0.5 else ""
    yield Check("load", f"{busy:.0%} of the cores", crowded)
    low = machine.available_gib < _LOW_MEMORY_GIB
    yield Check(
        "memory",
        f"{machine.available_gib:.1f} of {machine.memory_gib:.1f} GiB free",
        "close programs, or use a smaller model, --context or --kv q8_0" if low else "",
    )
    yield _meter()
    profile = matching_profile(machine)
    yield Check("device profile", profile.name if profile else "none fits; costs are learned")
    built = gpu.library()
    missed = bool(machine.gpu) and not built
    build = gpu.build_command(machine, _built_against()) if missed else ""
    yield Check(
        "GPU",
        f"{machine.gpu or 'none'}, llama.cpp built for {built or 'the CPU only'}",
        build and f"build it with: {build}",
        build,
    )


def _built_against() -> str:
    """The release of llama-cpp-python that our metadata asks for."""
    from importlib.metadata import requires

    wanted = (need.split(";")[0].strip() for need in requires("edgereason") or ())
    return next(need.partition("==")[2] for need in wanted if need.startswith("llama-cpp-python=="))


def _meter() -> Check:
    """What tells joules. A meter that may not be read is worth a line, one that is not there is
    not a fault."""
    from pathlib import Path

    from edgereason.planning.energy import Sampler
    from edgereason.planning.meters import find

    found = find(Path("/"))
    notes = "; ".join(found.notes)
    if not found.sources:
        none = "none that can be read: answers tell no joules"
        return Check("energy meter", none, notes)
    sampler = Sampler(found.sources)
    rails = ", ".join(sorted(sampler.sample()))
    return Check("energy meter", f"{sampler.label} ({sampler.scope}): {rails}", notes)


def _engine() -> Iterator[Check]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        yield Check("llama-cpp-python", version("llama-cpp-python"))
    except PackageNotFoundError:
        yield Check("llama-cpp-python", "not installed", *("pip install edgereason",) * 2)
    calm_threads()
    try:
        from edgereason import _core  # noqa: F401 (loads the native library)
    except ImportError as error:
        yield Check("native core", str(error), "install edgereason again, or make debug in a clone")
    else:
        yield Check("native core", "loads")
    yield _onnxruntime()


def _onnxruntime() -> Check:
    """A GPU provider that is listed may still not work: the engine tells which one it took."""
    try:
        import onnxruntime
    except ImportError:
        return Check("onnxruntime", "not installed; ONNX bundles need edgereason[onnx]")
    providers = ", ".join(onnxruntime.get_available_providers())
    return Check("onnxruntime", f"{onnxruntime.__version__}, {providers}")


def _cache() -> Iterator[Check]:
    from edgereason.config import cache_dir
    from edgereason.models.hub import cached

    folder = cache_dir()
    exists = next(path for path in (folder, *folder.parents) if path.exists())
    free_gib = shutil.disk_usage(exists).free / 2**30
    yield Check(
        "model cache",
        f"{folder}, {free_gib:.1f} GiB free",
        "make room, or set EDGEREASON_CACHE" if free_gib < _LOW_DISK_GIB else "",
    )
    names = sorted(cached())
    yield Check("models", ", ".join(names) or "none", *([] if names else _PULL))


def _step() -> Iterator[Check]:
    """Times a few tokens with the default model."""
    from edgereason.models.hub import cached

    if DEFAULT_MODEL not in cached():
        yield Check("step", f"not measured: {DEFAULT_MODEL} is not here", *_PULL)
        return
    from edgereason.runtime.reasoner import Reasoner

    with Reasoner.open(DEFAULT_MODEL) as reasoner:
        answer = reasoner.ask("Count from one to twenty.", strategy="no-think", answer_budget=32)
        stats = reasoner.stats()
    num_tokens, answer_ms = answer.usage.answer_tokens, answer.timings.answer_ms
    yield Check(
        "step",
        f"{answer_ms / max(num_tokens, 1):.1f} ms a token, "
        f"{answer.usage.prompt_tokens} prompt tokens in {answer.timings.prefill_ms:.0f} ms, "
        f"{stats['num_threads']} threads, {DEFAULT_MODEL}",
    )
