"""A network as ONNX, ready to be saved."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple, Union

from mxquant import model as models
from mxquant.errors import InputError, OutputError
from mxquant.files.replacing import replacing
from mxquant.graph import Network
from mxquant.model.mixed_precision import MixedPrecision
from mxquant.onnx_export.graph import float_model
from mxquant.onnx_export.qdq import qdq_model
from mxquant.plan import QuantPlan
from mxquant.runtime.mxnet import mx
from mxquant.shown import printable
from mxquant.version import __version__

__all__ = ["OnnxModel", "Shape", "named_shapes", "onnx_model"]

Shape = Tuple[int, ...]
# Protocol Buffers hold no more in one file.
_LARGEST = 2**31 - 1


@dataclass(frozen=True)
class OnnxModel:
    """A network as ONNX.

    Parameters
    ----------
    proto : onnx.ModelProto
        The model, checked, with shapes inferred.
    plan : QuantPlan or None
        The plan of its int8 tensors; None for an fp32 model.
    mixed_precision : MixedPrecision or None
        How the layers in float32 were found, where a metric had to be reached.
    """

    proto: Any
    plan: Optional[QuantPlan] = None
    mixed_precision: Optional[MixedPrecision] = None

    def __repr__(self) -> str:
        graph, opset = self.proto.graph, self.proto.opset_import[0].version
        named = "; ".join(
            f"{role}: {', '.join(each.name for each in values)}"
            for role, values in (("inputs", graph.input), ("outputs", graph.output))
        )
        plan = "fp32" if self.plan is None else self.plan.summary
        return printable(f"OnnxModel({plan}; opset {opset}; {len(graph.node)} nodes; {named})")

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>" if self.plan is None else self.plan.table(repr(self))

    def save(self, path: Union[str, Path]) -> None:
        """Write the model to a file.

        Parameters
        ----------
        path : str or Path
            The file; its folder has to exist.

        Raises
        ------
        OutputError
            If it cannot be written; the file appears whole or not at all.
        """
        size = self.proto.ByteSize()
        if size > _LARGEST:
            raise OutputError(f"cannot write '{path}': the model has {size} bytes, an ONNX file holds {_LARGEST}")
        with replacing(path) as temporary:
            temporary.write_bytes(self.proto.SerializeToString())


def onnx_model(network: Network, digest: str, plan: Optional[QuantPlan], shapes: Mapping[str, Shape]) -> OnnxModel:
    """Return a canonical network as ONNX.

    Parameters
    ----------
    network : Network
        The canonical network.
    digest : str
        Of the user's network.
    plan : QuantPlan or None
        A plan for the target 'onnx_qdq'; None for fp32.
    shapes : mapping of str to tuple of int
        Shapes of the data inputs, the batch first; the model has no inputs that nothing reads.

    Returns
    -------
    OnnxModel
        The model.
    """
    read = {node.name for node in network.inputs}
    shapes = {name: shape for name, shape in shapes.items() if name in read}
    properties = {"mxquant": __version__, "mxnet": mx.__version__, "network": digest}
    if plan is None:
        return OnnxModel(float_model(network, shapes, properties))
    properties["plan"] = hashlib.sha256(plan.to_json().encode()).hexdigest()
    properties["isa"] = str(plan.isa)
    return OnnxModel(qdq_model(network, plan, shapes, properties), plan)


def named_shapes(model: models.Model, shapes: Optional[Union[Shape, Mapping[str, Shape]]]) -> Dict[str, Shape]:
    """Return shapes by the name of the input.

    Raises
    ------
    InputError
        If they are missing, or are not one for each input.
    """
    expected = f"expected a shape for each of {', '.join(model.inputs)}, such as (1, 3, 224, 224)"
    if shapes is None:
        raise InputError(f"input_shapes is missing, which ONNX needs; {expected}")
    if isinstance(shapes, Mapping):
        named = {name: tuple(shape) for name, shape in shapes.items()}
    else:
        named = dict.fromkeys(model.inputs[:1], tuple(shapes))
    if set(named) != set(model.inputs):
        raise InputError(f"input_shapes is {shapes!r}, {expected}")
    return named
