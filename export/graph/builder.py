"""An ONNX graph that grows node by node, while its weights go to disk one at a time.

    with Graph(folder / "model.onnx", opset=21) as graph:
        x = graph.input("x", numpy.float32, ("rows", 64))
        y = graph.node("MatMul", x, graph.tensor("w", weight))
        graph.output(y, "y", numpy.float32, ("rows", 32))
        graph.save({"edgereason.kind": "ort"})

Values are known by their names. Weights lie in `model.onnx.data`. Knows no operator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike, NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]
Shape = Sequence[int | str]

IR_VERSION: Final = 11  # of opset 23; a runtime refuses what is newer than itself
_PAGE_BYTES: Final = 4096  # large tensors begin on a page, so that runtimes can map them
_LINE_BYTES: Final = 64


class Graph:
    """Inputs, outputs, nodes and weights of one model file. Its folder must hold none yet.

    Attributes:
        ir_version: of the file; raise it for an opset that needs more.
        num_bytes: written to the data file so far.
    """

    def __init__(self, path: Path, *, opset: int, ir_version: int = IR_VERSION) -> None:
        self.ir_version = ir_version
        self.num_bytes = 0
        self._path = path
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._tensors: dict[str, TensorProto] = {}
        self._versions = {"": opset}
        self._counts: dict[str, int] = {}
        self._data = path.with_name(f"{path.name}.data").open("xb")

    def __enter__(self) -> Graph:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self._data.close()

    def __contains__(self, name: str) -> bool:
        """Whether there is a weight of that name."""
        return name in self._tensors

    def input(self, name: str, dtype: DTypeLike, shape: Shape) -> str:
        self._inputs.append(_value(name, dtype, shape))
        return name

    def output(self, value: str, name: str, dtype: DTypeLike, shape: Shape) -> None:
        """Makes a value an output. Costs a copy unless its node has named it `name` itself."""
        if value != name:
            self.node("Identity", value, outputs=(name,))
        self._outputs.append(_value(name, dtype, shape))

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Adds a node of one output, and returns that. An input "" is left out."""
        return self.nodes(1, op, *inputs, domain=domain, **attributes)[0]

    def nodes(
        self,
        num: int,
        op: str,
        *inputs: str,
        outputs: Sequence[str] = (),
        domain: str = "",
        **attributes: Any,
    ) -> tuple[str, ...]:
        """Adds a node of `num` outputs: named by `outputs`, freshly where that is "" or short."""
        name = self._fresh(op)
        given = [*outputs, *[""] * num][:num]
        named = tuple(wanted or f"{name}.{i}" for i, wanted in enumerate(given))
        self._nodes.append(
            helper.make_node(op, inputs, named, name=name, domain=domain, **attributes)
        )
        self._versions.setdefault(domain, 1)
        return named

    def constant(self, value: ArrayLike, dtype: DTypeLike) -> str:
        """A number, a shape, a small tensor: kept in the model file, equal ones once."""
        array = np.asarray(value, dtype)
        digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        name = f"constant.{array.dtype}.{'x'.join(map(str, array.shape))}.{digest}"
        if name not in self._tensors:
            self._tensors[name] = numpy_helper.from_array(array, name)
        return name

    def weight(self, name: str, array: Array) -> str:
        """Writes a weight to disk now. Types that numpy lacks come from `ml_dtypes`."""
        proto = TensorProto(name=name, dims=array.shape, data_type=_type(array.dtype))
        packed = _packed(array)
        align = _PAGE_BYTES if packed.nbytes >= _PAGE_BYTES else _LINE_BYTES
        offset = -(-self.num_bytes // align) * align
        self._data.write(bytes(offset - self.num_bytes))
        self._data.write(packed.data)
        self.num_bytes = offset + packed.nbytes
        proto.data_location = TensorProto.EXTERNAL
        for key, text in (
            ("location", Path(self._data.name).name),
            ("offset", str(offset)),
            ("length", str(packed.nbytes)),
        ):
            proto.external_data.add(key=key, value=text)
        return self._add(proto)

    def alias(self, name: str, weight: str, shape: Sequence[int]) -> str:
        """The same bytes of the data file under another name and shape."""
        proto = TensorProto()
        proto.CopyFrom(self._tensors[weight])
        proto.name = name
        proto.dims[:] = shape
        return self._add(proto)

    def save(self, metadata: Mapping[str, str]) -> None:
        """Writes the model file; the data file is whole then."""
        graph = helper.make_graph(
            self._nodes, "decoder", self._inputs, self._outputs, list(self._tensors.values())
        )
        model = helper.make_model(
            graph,
            producer_name="edgereason",
            ir_version=self.ir_version,
            opset_imports=[helper.make_opsetid(*item) for item in self._versions.items()],
        )
        helper.set_model_props(model, dict(metadata))
        self._data.close()
        self._path.write_bytes(model.SerializeToString())

    def _add(self, proto: TensorProto) -> str:
        if proto.name in self._tensors:
            raise ValueError(f"the graph has a weight {proto.name} already")
        self._tensors[proto.name] = proto
        return str(proto.name)

    def _fresh(self, op: str) -> str:
        self._counts[op] = self._counts.get(op, 0) + 1
        return f"{op}.{self._counts[op]}"


def _value(name: str, dtype: DTypeLike, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _type(dtype), shape)


def _type(dtype: DTypeLike) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(dtype))


def _packed(array: Array) -> NDArray[np.uint8]:
    """The bytes as ONNX stores them: two numbers of 4 bits share one."""
    if _type(array.dtype) in (TensorProto.INT4, TensorProto.UINT4, TensorProto.FLOAT4E2M1):
        return np.frombuffer(numpy_helper.from_array(array).raw_data, np.uint8)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
