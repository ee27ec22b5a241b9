"""From a Gluon block to a symbol: it is called with variables, as Gluon itself does."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Container, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mxquant.errors import InputError
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import first_line

__all__ = ["Traced", "trace"]


@dataclass(frozen=True)
class Traced:
    """What a block is, as a network.

    Parameters
    ----------
    symbol : mxnet.symbol.Symbol
        Its outputs, one after the other.
    params : mapping of str to NDArray
        The parameters that the outputs depend on.
    inputs : tuple of str
        Names of its inputs, in order; also of those that nothing reads.
    structure : object
        How its outputs are nested: numbers of outputs, in lists.
    """

    symbol: Any
    params: Mapping[str, Any]
    inputs: Tuple[str, ...]
    structure: Any


def trace(block: Any, example: Optional[Sequence[Any]], names: Optional[Sequence[str]]) -> Traced:
    """Call a block with variables.

    Parameters
    ----------
    block : mxnet.gluon.HybridBlock
        Initialized, or to be initialized by running `example`.
    example : sequence of arrays or None
        A batch, the label perhaps among it as the last. It is one where the block cannot be called with all of them.
    names : sequence of str or None
        Names of its inputs.

    Raises
    ------
    InputError
        If it cannot be traced, or has parameters without a value that its outputs depend on.
    """
    failure: Optional[Exception] = None
    arities = _arities(block, names, example)
    for count in arities:
        inputs = tuple(names) if names is not None else _input_names(block, count)
        try:
            return _traced(block, inputs, list(example or ())[: len(inputs)])
        except InputError:
            raise
        except (TypeError, ValueError, AttributeError, mx.MXNetError) as error:
            failure = failure or error
    assert failure is not None
    raise InputError(
        f"network '{block.name}' cannot be traced with {' or '.join(map(str, sorted(arities)))} inputs: "
        f"{first_line(failure)}; give data_names, and check that the block is a HybridBlock throughout; one of mx.np "
        "needs npx.set_np() before"
    ) from failure


def _traced(block: Any, inputs: Tuple[str, ...], example: Sequence[Any]) -> Traced:
    # Under npx.set_np() a block takes the symbols of mx.np alone.
    variables = [mx.sym.var(name) for name in inputs]
    output = block(*([each.as_np_ndarray() for each in variables] if mx.util.is_np_array() else variables))
    flat: List[Any] = []
    structure = _flatten(output, flat, block.name)
    symbol = flat[0] if len(flat) == 1 else mx.sym.Group(flat)
    read = set(symbol.list_inputs())
    if example and _waiting(block, read):
        _initialize_by_shapes(block, symbol, _shapes_for(symbol, inputs, example))
    if example and _waiting(block, read):
        _initialize_by_running(block, example)
    waiting = _waiting(block, read)
    if waiting:
        raise InputError(
            f"network '{block.name}': parameter '{waiting[0]}' has no value yet; initialize the block and run it "
            "once, or pass data"
        )
    params = {
        name: value.data().as_nd_ndarray().as_in_context(mx.cpu())
        for name, value in block.collect_params().items()
        if name in read
    }
    if len(inputs) > 1 and len(example) == len(inputs):
        # MXNet raises an error where the last array is a label that the block could take by its number of inputs only.
        given = {name: value.shape for name, value in params.items()}
        _inferred(symbol, {**given, **_shapes_for(symbol, inputs, example)})
    return Traced(symbol, params, inputs, structure)


def _shapes_for(symbol: Any, inputs: Sequence[str], example: Sequence[Any]) -> Dict[str, Tuple[int, ...]]:
    read = set(symbol.list_inputs())
    return {name: np.shape(value) for name, value in zip(inputs, example) if name in read}


def _inferred(symbol: Any, shapes: Mapping[str, Tuple[int, ...]]) -> Dict[str, Tuple[int, ...]]:
    """Return the shapes of variables as far as they follow from some; an error of MXNet's where these do not fit."""
    with mx.util.np_shape(mx.util.is_np_array()), mx.util.np_array(False):
        args, _, aux = symbol._infer_shape_impl(True, **shapes)
    names = [*symbol.list_arguments(), *symbol.list_auxiliary_states()]
    return dict(zip(names, [*(args or ()), *(aux or ())]))


def _initialize_by_shapes(block: Any, symbol: Any, shapes: Mapping[str, Tuple[int, ...]]) -> None:
    """Let parameters that wait for their shapes have values; no forward pass is needed, which float16 may not have."""
    found = _inferred(symbol, shapes)
    for name, value in block.collect_params().items():
        shape = found.get(name, ())
        if value._data is None and shape and min(shape) > 0:
            value.shape = shape
            value._finish_deferred_init()


def _arities(block: Any, names: Optional[Sequence[str]], example: Optional[Sequence[Any]]) -> List[int]:
    """Return the numbers of inputs to try, likeliest first: all arrays of a batch, or all but the last, a label."""
    if names is not None:
        return [len(names)]
    if isinstance(block, mx.gluon.SymbolBlock):
        return [len(block._cached_graph[0])]
    if not example:
        return [max(_required(block), 1)]
    count = len(example)
    if count == 1:
        return [1]
    return [count - 1, count] if _takes_label(block, count) else [count, count - 1]


def _inputs_of(block: Any) -> List[inspect.Parameter]:
    """Return the inputs that a block names, behind the module of operators; its own parameters are given by name.

    A block may be called in a way of its own, as Gluon's recurrent layers are, which make states that are not given.
    """
    called = type(block).__call__
    is_own = called is not mx.gluon.HybridBlock.__call__
    given = list(inspect.signature(called if is_own else block.hybrid_forward).parameters.values())[1:]
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    return [each for each in given if each.kind in kinds and each.name not in block._reg_params]


def _required(block: Any) -> int:
    return sum(each.default is inspect.Parameter.empty for each in _inputs_of(block))


def _takes_label(block: Any, count: int) -> bool:
    """Whether the last of so many inputs is a label by its name, which the block can be called without."""
    given = _inputs_of(block)
    last = given[count - 1] if count <= len(given) else None
    return last is not None and last.default is not inspect.Parameter.empty and "label" in last.name


def _waiting(block: Any, names: Container[str]) -> List[str]:
    return [name for name, value in block.collect_params().items() if value._data is None and name in names]


def _initialize_by_running(block: Any, example: Sequence[Any]) -> None:
    try:
        with mx.autograd.pause(train_mode=False):
            array = mx.np.array if mx.util.is_np_array() else mx.nd.array
            dtype = _precision(block)
            block(*[array(value, dtype=dtype) for value in example])
    except mx.MXNetError:
        raise
    except RuntimeError as error:
        raise InputError(
            f"network '{block.name}': {first_line(error)}; call its initialize() or load parameters"
        ) from error


def _precision(block: Any) -> Any:
    """Return the type that a block was cast to."""
    dtypes = [np.dtype(each.dtype) for each in block.collect_params().values() if each.dtype is not None]
    kinds = [dtype for dtype in dtypes if dtype.kind == "f" and dtype != np.float32]
    return kinds[0] if kinds else np.float32


def _input_names(block: Any, count: int) -> Tuple[str, ...]:
    if isinstance(block, mx.gluon.SymbolBlock):
        return tuple(node.name for node in block._cached_graph[0])
    return ("data",) if count == 1 else tuple(f"data{i}" for i in range(count))


def _flatten(output: Any, flat: List[Any], name: str) -> Any:
    """Append the symbols of a nested output to `flat`; return their positions in the same nesting.

    A symbol of several outputs is a list of them, as it is where Gluon computes it.
    """
    if isinstance(output, (list, tuple)):
        return [_flatten(item, flat, name) for item in output]
    if not isinstance(output, mx.sym.Symbol):
        raise InputError(
            f"network '{name}': output number {len(flat)} is {type(output).__name__}, expected a Symbol; return lists "
            "and tuples of what operators compute"
        )
    begin = len(flat)
    flat += list(output.as_nd_ndarray())
    return begin if len(flat) == begin + 1 else list(range(begin, len(flat)))
