"""Shapes of the labels of a network, which follow from what stands beside them; inference reads zeros there."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Sequence, Tuple

from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import first_line

__all__ = ["labels_of"]

Shape = Tuple[int, ...]


def labels_of(
    symbol: Any, names: Sequence[str], inputs: Mapping[str, Shape], params: Mapping[str, Any]
) -> Dict[str, Shape]:
    """Return the shapes of inputs that have no data.

    Parameters
    ----------
    symbol : mxnet.symbol.Symbol
        The network.
    names : sequence of str
        The inputs in question.
    inputs : mapping of str to tuple of int
        Shapes of the data.
    params : mapping of str to array
        Parameters of the network.

    Raises
    ------
    InputError
        If the network cannot take these data, or a shape does not follow from them.
    """
    if not names:
        return {}
    arguments = symbol.list_arguments()
    known = {**{name: value.shape for name, value in params.items()}, **inputs}
    try:
        # What the public function adds is to print all shapes where the network cannot take these.
        found, _, _ = symbol._infer_shape_impl(True, **{name: known[name] for name in arguments if name in known})
    except mx.MXNetError as error:
        raise InputError(f"the network cannot take these inputs {dict(inputs)}: {first_line(error)}") from error
    shapes = {name: tuple(shape) for name, shape in zip(arguments, found or ()) if name in names}
    for name in names:
        if not shapes.get(name) or min(shapes[name]) < 1:
            raise InputError(
                f"the shape of '{name}', which has no data, does not follow from that of the data {dict(inputs)}; if "
                "it is an input, name it in data_names; if it is a label, quantize the network without its loss, such "
                "as symbol.get_internals()['NAME_output'] of the layer before"
            )
    return shapes
