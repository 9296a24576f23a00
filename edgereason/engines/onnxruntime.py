"""Runs decoder graphs on a CPU or GPU of ONNX Runtime: those that `edgereason export --to onnx`
writes, and those of optimum and of onnxruntime-genai's builder (docs/models.md), with less.

Threads are fixed when the model is opened: they do not follow the load of the machine as those of
`llamacpp` do. Knows nothing of chat or reasoning. GPU providers have run on no GPU yet.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from edgereason.config import MOST, require_ranges
from edgereason.engines.base import ALL_CAPS, require_file
from edgereason.engines.graph.exported import (
    Sizes,
    check_memory,
    check_weights,
    choose_context,
    fingerprint,
    make_engine,
    read_info,
    vocabulary,
)
from edgereason.engines.graph.large_pages import large_pages
from edgereason.errors import BundleError, UnsupportedError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

    from edgereason._core import Engine
    from edgereason.models.bundle import Bundle

caps = ALL_CAPS

_CPU: Final = "CPUExecutionProvider"
_PROVIDERS: Final = {"cuda": "CUDAExecutionProvider", "cpu": _CPU}  # the best first
_AGAIN: Final = "export it again"
_LIBRARY_BYTES: Final = 64 * 2**20  # onnxruntime itself; weights take as much as their file


@dataclass(frozen=True, slots=True)
class Config:
    context: int = field(
        default=0,
        metadata={"help": "tokens, shared by all requests; 0: what the graph allows, to 4096"},
    )
    sequences: int = field(default=8, metadata={"help": "chains of thought side by side, 1 to 64"})
    batch: int = field(default=512, metadata={"help": "tokens of one step at most"})
    threads: int = field(
        default=0, metadata={"help": "compute threads while the model is open; 0: all cores"}
    )
    spin: bool = field(
        default=False,
        metadata={"help": "idle threads wait in a loop: faster, but far slower on busy cores"},
    )
    large_pages: bool = field(
        default=True,
        metadata={"help": "weights in memory pages of 2 MiB, on a CPU: faster, opens later"},
    )
    provider: Literal["auto", "cpu", "cuda"] = field(
        default="auto", metadata={"help": "where to compute; auto: on a GPU where one works"}
    )
    memory_gib: float = field(
        default=0.0, metadata={"help": "memory the model may take; 0: what is free"}
    )

    def __post_init__(self) -> None:
        require_ranges(
            self,
            context=(0, MOST),
            sequences=(1, 64),
            batch=(1, 2**16),
            threads=(0, 1024),
            memory_gib=(0, MOST),
        )


def open(bundle: Bundle, config: Config) -> Engine:
    """Opens the bundle's graph."""
    from edgereason.engines.graph.ort_executors import make_executor, ports
    from edgereason.models.bundle import MANIFEST, model_file
    from edgereason.planning.device import memory_now

    path = model_file(bundle)
    require_file(bundle, path, ".onnx", engine="onnxruntime", target="onnx")
    is_ours = (bundle.path / MANIFEST).is_file()
    if is_ours:
        vocabulary(bundle)
    free_gib = memory_now().available_gib
    limit_gib = min(config.memory_gib or free_gib, free_gib)
    weight_bytes = sum(file.size_bytes for file in bundle.files) + _LIBRARY_BYTES
    check_weights(weight_bytes, limit_gib * 2**30)
    session = open_session(path, config)
    try:
        metadata = session.get_modelmeta().custom_metadata_map
        found = ports(session.get_inputs()), ports(session.get_outputs())
    except UnicodeDecodeError:
        raise BundleError(f"{path} is damaged: a name in it is not UTF-8", _AGAIN) from None
    if not is_ours:
        return _open_foreign(session, bundle, config, weight_bytes, limit_gib * 2**30)
    info = read_info(path, metadata, *found)
    sizes = Sizes(choose_context(config.context, info), config.sequences, config.batch)
    provider = session.get_providers()[0]
    if provider == _CPU:  # nobody asks a GPU how much it has left
        check_memory(info, sizes, weight_bytes, limit_gib * 2**30)
    return make_engine(make_executor(session, info, sizes), info, sizes, bundle, provider)


def _open_foreign(
    session: InferenceSession, bundle: Bundle, config: Config, weight_bytes: int, limit: float
) -> Engine:
    """The graph of another tool."""
    from edgereason import _core
    from edgereason.engines.graph.foreign import CAPS, Alone, read_foreign
    from edgereason.engines.graph.foreign_in_place import InPlace, agrees, may_write_in_place
    from edgereason.engines.graph.kv import PooledModel
    from edgereason.engines.graph.ort_executors import ports
    from edgereason.models import onnx_folder
    from edgereason.models.bundle import model_file

    path = model_file(bundle)
    model = onnx_folder.read(path)
    graph = read_foreign(path, model, ports(session.get_inputs()), ports(session.get_outputs()))
    sizes = Sizes(choose_context(config.context, graph), config.sequences, config.batch)
    provider = session.get_providers()[0]
    if provider == _CPU:
        check_memory(graph, sizes, weight_bytes, limit)
    alone = Alone(session, graph, sizes.sequences, "cpu" if provider == _CPU else "cuda")
    together = None
    if provider == _CPU and may_write_in_place(path, graph, sizes):
        together = InPlace(session, graph, sizes)
    in_place = together is not None and agrees(together, alone, graph, sizes.sequences)
    pool = PooledModel(
        together if together and in_place else alone,
        num_seats=sizes.sequences,
        capacity=sizes.context,
        num_vocab=graph.num_vocab,
        num_embd=1,  # nobody asks: it neither takes nor gives one
        side_by_side=in_place,
    )
    return _core.HostEngine(
        pool,
        onnx_folder.vocabulary(model),
        caps=CAPS.value,
        num_vocab=graph.num_vocab,
        num_embd=1,
        context=sizes.context,
        max_rows=sizes.batch,
        max_seqs=sizes.sequences,
        cell_bytes=graph.cell_bytes,
        fingerprint=fingerprint(bundle, graph.kv_dtype),
        meta={"provider": provider, "kv": "in place" if in_place else "copied"},
    )


def open_session(path: Path, config: Config) -> InferenceSession:
    """Raises `BundleError` where the graph is damaged, `UnsupportedError` where the provider that
    was asked for does not work here."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise UnsupportedError(
            f"the engine onnxruntime cannot be loaded: {error}", "pip install 'edgereason[onnx]'"
        ) from None
    from edgereason.planning.device import num_cores

    options = ort.SessionOptions()
    options.intra_op_num_threads = config.threads or num_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(config.spin)))
    options.log_severity_level = 4  # what goes wrong is raised
    wanted = _PROVIDERS.get(config.provider)
    there = ort.get_available_providers()
    if wanted and wanted not in there:
        raise UnsupportedError(
            f"this onnxruntime has no {wanted}, only {', '.join(there)}",
            "install onnxruntime-gpu instead of onnxruntime, or take provider=cpu",
        )
    providers = [wanted] if wanted else [p for p in _PROVIDERS.values() if p in there]
    on_cpu = providers == [_CPU]
    try:
        with large_pages() if config.large_pages and on_cpu else nullcontext():
            session = ort.InferenceSession(
                # To fall back would print on stdout, and then fail the same way again.
                str(path),
                options,
                providers=providers,
                enable_fallback=0,
            )
    except Exception as error:  # its own classes differ between versions
        why = next(iter(str(error).splitlines()), "it says nothing")
        raise BundleError(
            f"onnxruntime cannot open {path}: {why[:300]}",
            f"{_AGAIN}: it may be damaged, or written for a newer onnxruntime",
        ) from None
    if wanted and session.get_providers()[0] != wanted:
        raise UnsupportedError(
            f"{wanted} does not work here: onnxruntime took {session.get_providers()[0]}",
            "is there a GPU, and its driver? provider=auto takes what works",
        )
    return session
