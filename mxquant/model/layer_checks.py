"""Whether layers and parameters can be a network's: what would be a wrong number, or divided by, is refused by name."""

from __future__ import annotations

from typing import Any, Mapping, Tuple

from mxquant.errors import GraphError, InputError
from mxquant.graph import Network, Node
from mxquant.graph.attributes import read_bool, read_int, read_tuple

__all__ = ["check_layers"]

# Which attribute tells how many rows the weight and the bias of a layer have.
_ROWS = {"Convolution": "num_filter", "FullyConnected": "num_hidden"}
_WINDOWS = ("Convolution", "Deconvolution", "Pooling")
_BATCH_NORMS = ("BatchNorm", "BatchNorm_v1", "_contrib_SyncBatchNorm")


def check_layers(network: Network, given: Mapping[str, Any]) -> None:
    """Check layers and compare them with their parameters, as far as that is possible without an input's shape.

    Parameters
    ----------
    network : Network
        The user's network.
    given : mapping of str
        The parameters that the user has given; others than the network's own are passed over.

    Raises
    ------
    InputError
        Naming the layer, if a parameter is not the layer's, or none of them is the network's.
    GraphError
        Naming the layer, if it divides by an attribute that is 0.
    """
    if given and not network.params:
        raise InputError(f"none of the parameters belongs to the network, for example '{next(iter(given))}'")
    for node in network.graph.operators:
        if node.op in _WINDOWS:
            _check_windows(node)
        rows = read_int(node, _ROWS[node.op], 0) if node.op in _ROWS else 0
        for role, tensor in zip(("weight", "bias"), node.inputs[1:] if rows else ()):
            value = network.params.get(tensor.node.name)
            if value is not None and not _fits(node, role, value.shape, rows):
                raise InputError(
                    f"layer '{node.name}' ({node.op}): its {role} '{tensor.name}' has shape {value.shape}, expected "
                    f"{rows} rows{_kernel_of(node) if role == 'weight' else ''}; are these the network's parameters?"
                )
        if node.op in _BATCH_NORMS:
            _check_batch_norm(node, network.params)


def _check_windows(node: Node) -> None:
    for key in ("kernel", "stride", "dilate"):
        if min(read_tuple(node, key), default=1) < 1 and not (
            key == "kernel" and read_bool(node, "global_pool", False)
        ):
            raise GraphError(f"layer '{node.name}' ({node.op}): {key}={node.attrs[key]}, expected numbers above 0")
    if read_int(node, "num_group", 1) < 1:
        raise GraphError(f"layer '{node.name}' ({node.op}): num_group={node.attrs['num_group']}, expected 1 or more")


def _fits(node: Node, role: str, shape: Tuple[int, ...], rows: int) -> bool:
    """Whether a weight or bias can be a layer's, whatever its input is."""
    if not shape or shape[0] != rows:
        return False
    if role == "bias" or node.op == "FullyConnected":
        return len(shape) == (1 if role == "bias" else 2)
    kernel = read_tuple(node, "kernel")
    return len(shape) == len(kernel) + 2 and kernel in (shape[2:], shape[1:-1])


def _kernel_of(node: Node) -> str:
    return f" and kernel {read_tuple(node, 'kernel')}" if node.op == "Convolution" else ""


def _check_batch_norm(node: Node, params: Mapping[str, Any]) -> None:
    values = {tensor.name: params[tensor.name] for tensor in node.inputs[1:] if tensor.name in params}
    shapes = {name: value.shape for name, value in values.items()}
    if len({*shapes.values()}) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise InputError(
            f"layer '{node.name}' ({node.op}): its parameters have shapes {shapes}, expected one number a channel; "
            "are these the network's parameters?"
        )
