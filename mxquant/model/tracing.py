"""From a Gluon block to a symbol: it is called with variables, as Gluon itself does."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence, Tuple

from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import first_line

__all__ = ["trace"]


def trace(
    block: Any, example: Optional[Sequence[Any]], names: Optional[Sequence[str]]
) -> Tuple[Any, Mapping[str, Any], Sequence[str], Any]:
    """Return a block's symbol, parameters, input names, and how its outputs are nested.

    Parameters
    ----------
    block : mxnet.gluon.HybridBlock
        Initialized, or to be initialized by running `example`.
    example : sequence of arrays or None
        A batch, the label perhaps among it as the last.
    names : sequence of str or None
        Names of its inputs.

    Raises
    ------
    InputError
        If it cannot be traced, or has parameters without a value.
    """
    failure: Optional[Exception] = None
    arities = _arities(names, example)
    for count in arities:
        inputs = list(names) if names is not None else _input_names(block, count)
        try:
            if example and _uninitialized(block):
                _initialize_by_running(block, example[: len(inputs)])
            # Under npx.set_np() a block takes the symbols of mx.np alone.
            variables = [mx.sym.var(name) for name in inputs]
            output = block(*([each.as_np_ndarray() for each in variables] if mx.util.is_np_array() else variables))
        except (TypeError, ValueError, AttributeError, mx.MXNetError) as error:
            failure = failure or error
            continue
        waiting = _uninitialized(block)
        if waiting:
            raise InputError(
                f"network '{block.name}': parameter '{waiting[0]}' has no value yet; initialize the block and run it "
                "once, or pass data"
            )
        flat: List[Any] = []
        structure = _flatten(output, flat)
        symbol = flat[0] if len(flat) == 1 else mx.sym.Group(flat)
        params = {
            name: value.data().as_nd_ndarray().as_in_context(mx.cpu()) for name, value in block.collect_params().items()
        }
        return symbol, params, inputs, structure
    assert failure is not None
    raise InputError(
        f"network '{block.name}' cannot be traced with {' or '.join(map(str, arities))} inputs: {first_line(failure)}; "
        "give data_names, and check that the block is a HybridBlock throughout; one of mx.np needs npx.set_np() before"
    ) from failure


def _arities(names: Optional[Sequence[str]], example: Optional[Sequence[Any]]) -> List[int]:
    """Return the numbers of inputs to try, likeliest first: the last array of a batch is usually a label."""
    if names is not None:
        return [len(names)]
    count = len(example) if example else 1
    return [count - 1, count] if count > 1 else [1]


def _uninitialized(block: Any) -> List[str]:
    return [name for name, parameter in block.collect_params().items() if parameter._data is None]


def _initialize_by_running(block: Any, example: Sequence[Any]) -> None:
    try:
        with mx.autograd.pause(train_mode=False):
            array = mx.np.array if mx.util.is_np_array() else mx.nd.array
            block(*[array(value) for value in example])
    except RuntimeError as error:
        raise InputError(
            f"network '{block.name}': {first_line(error)}; call its initialize() or load parameters"
        ) from error


def _input_names(block: Any, count: int) -> List[str]:
    if isinstance(block, mx.gluon.SymbolBlock):
        return [node.name for node in block._cached_graph[0]]
    return ["data"] if count == 1 else [f"data{i}" for i in range(count)]


def _flatten(output: Any, flat: List[Any]) -> Any:
    """Append the symbols of a nested output to `flat`; return their positions in the same nesting."""
    if isinstance(output, (list, tuple)):
        return [_flatten(item, flat) for item in output]
    if not isinstance(output, mx.sym.Symbol):
        raise InputError(f"network: an output is {type(output).__name__}, expected a Symbol")
    flat.append(output.as_nd_ndarray())
    return len(flat) - 1
