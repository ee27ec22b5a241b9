"""Runs int8 networks at the level of this process, for :mod:`tests.benchmark.levels`.

``python -m tests.benchmark.levels_worker FOLDER LEVEL`` prints one line of JSON: the SQNR of the portable network, that
of the one for LEVEL alone, and for each int8 layer of the portable one the share of its codes that it has at the first
level too, on the data that it has there. The first process writes these codes into the folder.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any, Dict, Mapping

import numpy as np

import mxquant
from mxquant.graph import Graph, Network, Node, Tensor
from mxquant.graph.heads import Heads
from mxquant.model import load
from mxquant.runtime.forward import outputs
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import network_of, symbol_of
from tests.networks import sqnr

_INT8 = ("int8", "uint8")


def int8_network(folder: Path, name: str) -> Network:
    """Return a saved int8 network."""
    model = mxquant.load(folder / name)
    return network_of(model.symbol, model.arg_params, model.aux_params)


def level_of(network: Network, folder: Path, heads: Heads) -> float:
    """Return the lowest SQNR of a network's heads."""
    exact = list(np.load(folder / "exact.npz").values())
    found = outputs(heads.judged(network), dict(np.load(folder / "given.npz")))
    return float(min(sqnr(one, other) for one, other in zip(exact, found)))


def every_tensor(network: Network, given: Mapping[str, np.ndarray]) -> Dict[str, np.ndarray]:
    """Return all results of all operators, by operator and number; all parameters and data by name."""
    graph = network.graph.copy()
    graph.outputs = [Tensor(node, index) for node in graph.operators for index in range(node.num_outputs)]
    found = outputs(Network(graph, network.params), given)
    tensors = {f"{tensor.node.name}:{tensor.index}": value for tensor, value in zip(graph.outputs, found)}
    return {**tensors, **{f"{name}:0": value for name, value in {**network.params, **given}.items()}}


def alone(node: Node, graph: Graph, values: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the first result of one operator, on given data."""
    names = [f"input{slot}" for slot in range(len(node.inputs))]
    arrays = [values[f"{tensor.node.name}:{tensor.index}"] for tensor in node.inputs]
    types = {"float32": "0", "int32": "4", "int8": "5", "uint8": "3"}
    variables = [Node("null", name, {"__dtype__": types[array.dtype.name]}) for name, array in zip(names, arrays)]
    inputs = [variable.output for variable in variables]
    twin = Node(node.op, node.name, dict(node.attrs), inputs, node.num_outputs, node.subgraphs)
    symbol = symbol_of(Graph([*variables, twin], [Tensor(twin, 0)], dict(graph.attrs)))
    bound = {name: mx.nd.array(array, dtype=array.dtype) for name, array in zip(names, arrays)}
    args, aux = (
        {name: bound[name] for name in wanted()} for wanted in (symbol.list_arguments, symbol.list_auxiliary_states)
    )
    (result, *_) = symbol.bind(mx.cpu(), args, aux_states=aux, grad_req="null").forward(is_train=False)
    return result.asnumpy()


def shares(network: Network, folder: Path) -> Dict[str, float]:
    """Return the share of equal codes of each int8 layer, against the codes in the folder; write them if none are."""
    path = folder / "codes.npz"
    if not path.exists():
        np.savez(path, **every_tensor(network, dict(np.load(folder / "given.npz"))))
    values = np.load(path)
    known = {name: values[name] for name in values.files}
    found: Dict[str, float] = {}
    for node in network.graph.operators:
        expected = known.get(f"{node.name}:0")
        reads = [known[f"{tensor.node.name}:{tensor.index}"].dtype.name for tensor in node.inputs]
        if expected is None or expected.dtype.name not in _INT8 or reads[:1] not in (["int8"], ["uint8"]):
            continue
        found[node.name] = float((alone(node, network.graph, known) == expected).mean())
    return found


def main() -> None:
    """Print what was measured."""
    warnings.simplefilter("ignore")
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    folder, level = Path(sys.argv[1]), sys.argv[2]
    model = load(str(folder / "net"))
    heads, network = Heads.of(model.canonical.network), int8_network(folder, "portable")
    found: Dict[str, Any] = {
        "portable": level_of(network, folder, heads),
        "own": level_of(int8_network(folder, level), folder, heads),
        "codes": shares(heads.judged(network), folder),
    }
    replies.write(json.dumps(found))


if __name__ == "__main__":
    main()
