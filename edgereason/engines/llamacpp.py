"""Any GGUF that libllama opens, on CPU or GPU, through the native engine in
`native/engines/llama.cc`.

Knows nothing of chat or reasoning. Recurrent and hybrid models lack `TRIM`. `HIDDEN_OUT` halts each
step once more, so it is there for models that were trained to think with it, or when asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgereason.config import MOST, require_ranges
from edgereason.engines.base import ALL_CAPS
from edgereason.errors import BundleError, EngineError, UnsupportedError, UsageError
from edgereason.models import gguf
from edgereason.models.adapter_file import parse_adapter
from edgereason.records import Capability

if TYPE_CHECKING:
    from edgereason._core import Engine
    from edgereason.models.bundle import Bundle

caps = ALL_CAPS | Capability.TOKEN_ROWS | Capability.STEER | Capability.LORA
switches = {Capability.HIDDEN_OUT: "hidden=true"}


@dataclass(frozen=True, slots=True)
class Config:
    context: int = field(
        default=0,
        metadata={
            "help": "tokens, shared by all requests; 0: what the model was trained for, to 8192"
        },
    )
    kv: Literal["f16", "q8_0"] = field(
        default="f16",
        metadata={"help": "how the KV cache is stored; q8_0 takes half the memory"},
    )
    gpu_layers: int = field(
        default=-1, metadata={"help": "layers on the GPU; -1: all where there is one, 0: none"}
    )
    sequences: int = field(default=16, metadata={"help": "chains of thought side by side, 1 to 64"})
    batch: int = field(default=512, metadata={"help": "tokens of one step at most"})
    hidden: bool | None = field(
        default=None,
        metadata={"help": "give hidden states; default: where the model thinks in them"},
    )
    activations: bool = field(
        default=False, metadata={"help": "collect what calibration needs; slower"}
    )
    lora: tuple[str, ...] = field(
        default=(), metadata={"help": "LoRA adapters for all requests, each FILE or FILE:scale"}
    )
    mmap: bool = field(default=True, metadata={"help": "map the file instead of reading it"})
    memory_gib: float = field(
        default=0.0, metadata={"help": "memory the model may take; 0: what is free"}
    )

    def __post_init__(self) -> None:
        require_ranges(
            self,
            context=(0, MOST),
            gpu_layers=(-1, MOST),
            sequences=(1, 64),
            batch=(1, MOST),
            memory_gib=(0, MOST),
        )
        if self.batch < self.sequences:
            raise UsageError(
                f"batch must be at least sequences ({self.sequences}), got {self.batch}",
                "each chain of thought has one token in a step",
            )


def open(bundle: Bundle, config: Config) -> Engine:
    """Opens the bundle's GGUF."""
    from edgereason.models.bundle import model_file
    from edgereason.planning.device import calm_threads, num_cores

    _check(bundle)
    _check_gpu(config.gpu_layers)
    loras = [_lora(text) for text in config.lora]
    calm_threads()
    from edgereason import _core  # loads the native library

    found = version("llama-cpp-python")
    if found != _core.LLAMA_CPP_PYTHON:
        raise EngineError(
            f"built against llama-cpp-python {_core.LLAMA_CPP_PYTHON}, found {found}",
            f"install llama-cpp-python=={_core.LLAMA_CPP_PYTHON}, or reinstall edgereason",
        )
    return _core.LlamaEngine(
        model_file(bundle),
        context=config.context,
        kv_type=config.kv,
        gpu_layers=config.gpu_layers,
        max_seqs=config.sequences,
        max_rows=config.batch,
        max_threads=num_cores(),
        hidden=_thinks_in_states(bundle) if config.hidden is None else config.hidden,
        activations=config.activations,
        mmap=config.mmap,
        memory_limit=int(config.memory_gib * 2**30),
        loras=loras,
    )


def _check(bundle: Bundle) -> None:
    """A file that has tokens and no weights is not damaged, only not what was meant."""
    if bundle.path.is_file() and not bundle.num_parameters:
        raise BundleError(
            f"{bundle.path.name} holds a vocabulary and no weights",
            "give the model that it belongs to",
        )


def _check_gpu(layers: int) -> None:
    """Layers that were asked for must not stay on the CPU in silence."""
    from edgereason.planning import gpu
    from edgereason.planning.device import this_machine

    if layers > 0 and not gpu.library():
        found = version("llama-cpp-python")
        raise UnsupportedError(
            f"gpu_layers is {layers}, and llama.cpp was built for the CPU only",
            f"build it with: {gpu.build_command(this_machine(), found)}; or leave gpu_layers out",
        )


def _lora(text: str) -> tuple[Path, float]:
    """A file and how strongly it acts, of `FILE` or `FILE:scale`."""
    path, scale = parse_adapter(text, "scale", "--lora ")
    kind = gguf.read(path).text("general.type")
    if kind != "adapter":
        raise BundleError(
            f"{path.name} is no LoRA adapter: its general.type is {kind!r}",
            "convert the adapter with llama.cpp's convert_lora_to_gguf.py",
        )
    return path, scale


def _thinks_in_states(bundle: Bundle) -> bool:
    return bundle.variant is not None and Capability.HIDDEN_OUT in bundle.variant.needs
