"""Networks with MXNet's int8 LSTM, run where the operator runs: here, or in a process at a lower level.

An operator of MXNet that raises may leave work behind that hurts the next one. So it is never run where it is known to
fail: tests take a :func:`runner`, or bear the mark :data:`needs_int8_lstm`.

A process takes a network per line of JSON, its arrays in a file, and answers with a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Mapping

import numpy as np
import pytest

from mxquant.graph import Graph, Node, Tensor
from mxquant.graph.packed_recurrent import Direction, pack
from mxquant.lowering.recurrent import AddRecurrent
from mxquant.lowering.trial import lstm_failure
from mxquant.plan.recurrent_plan import RecurrentPlan
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import symbol_of
from tests.levels import available, environment
from tests.networks import forward, images

ROOT = Path(__file__).parents[2]
# The levels whose oneDNN has an int8 LSTM.
LEVELS = ("avx2", "avx512", "avx2_vnni")
STEPS, BATCH, WIDTH, UNITS = 9, 4, 20, 128
# As tests.networks.forward: outputs of a symbol, for args, aux, and inputs by name.
Run = Callable[..., List[np.ndarray]]

needs_int8_lstm = pytest.mark.skipif(
    lstm_failure() is not None, reason="MXNet's int8 LSTM does not run at this level; ci/test.sh has lower ones"
)


class Process:
    """A process that runs networks with the instructions of one level."""

    def __init__(self, level: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.lowering.int8_lstm"],
            env=environment(level),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self._folder = tempfile.TemporaryDirectory()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *error: Any) -> None:
        with self._process, self._folder:
            self._process.stdin.close()

    def forward(self, symbol: Any, args: Any, aux: Any, **inputs: np.ndarray) -> List[np.ndarray]:
        """Return the outputs of a symbol for inputs by name, as :func:`tests.networks.forward` does here."""
        kinds = {"args": _arrays(args), "aux": _arrays(aux), "inputs": inputs}
        names = [[kind, name] for kind, values in kinds.items() for name in values]
        path = Path(self._folder.name) / "arrays.npz"
        np.savez(path, *(value for values in kinds.values() for value in values.values()))
        request = {"symbol": symbol.tojson(), "names": names, "path": str(path)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n", "the process has ended; what it says is above"
        return _loaded(path)


def _arrays(params: Mapping[str, Any]) -> Dict[str, np.ndarray]:
    return {name: value.asnumpy() for name, value in params.items()}


def _loaded(path: Path) -> List[np.ndarray]:
    with np.load(path) as arrays:
        return [arrays[f"arr_{number}"] for number in range(len(arrays.files))]


@contextmanager
def runner() -> Iterator[Run]:
    """Yield what runs a network that has int8 LSTM layers; skip the test where no level has the operator."""
    if lstm_failure() is None:
        yield forward
        return
    levels = [level for level in available() if level in LEVELS]
    if not levels:
        pytest.skip("MXNet's int8 LSTM runs at no level of this CPU")
    with Process(levels[-1]) as process:
        yield process.forward


def lstm(both: bool = False) -> Node:
    """Return an fp32 LSTM of one layer."""
    variables = [Node("null", name) for name in ("data", "vector", "state", "cell")]
    attrs = {"mode": "lstm", "state_size": str(UNITS), "num_layers": "1", "state_outputs": "True"}
    return Node("RNN", "rnn", {**attrs, "bidirectional": str(both)}, [each.output for each in variables], 3)


def parameters(both: bool = False, seed: int = 0, of_data: float = 1.0) -> np.ndarray:
    """Return its parameters; weights of data are larger by a factor."""
    rng = np.random.RandomState(seed)
    draws = [
        Direction(
            of_data * rng.randn(4 * UNITS, WIDTH) / np.sqrt(WIDTH),
            rng.randn(4 * UNITS, UNITS) / np.sqrt(UNITS),
            *rng.randn(2, 4 * UNITS) / 10,
        )
        for _ in range(1 + both)
    ]
    return pack([draws])


def states(both: bool = False) -> Dict[str, np.ndarray]:
    """Return what it begins with."""
    shape = (1 + both, BATCH, UNITS)
    return {"state": images(*shape, seed=5).clip(-1, 1) / 4, "cell": images(*shape, seed=6)}


class Nodes:
    """A graph in the making."""

    def __init__(self, inputs: List[Tensor]) -> None:
        self.nodes, self.params = [tensor.node for tensor in inputs], {}

    def add(self, op: str, name: str, attrs: Mapping[str, str], inputs: Any, num_outputs: int) -> Node:
        """Append a node."""
        self.nodes.append(Node(op, name, dict(attrs), list(inputs), num_outputs))
        return self.nodes[-1]

    def add_parameter(self, name: str, value: np.ndarray) -> Tensor:
        """Append a variable with a value."""
        self.params[name] = value
        self.nodes.append(Node("null", name))
        return self.nodes[-1].output


def in_int8(
    run: Run, node: Node, vector: np.ndarray, data: Mapping[str, np.ndarray], plan: RecurrentPlan, read: Any
) -> List[np.ndarray]:
    """Return some of an LSTM's three results, by the int8 operator as mxquant adds it to a graph."""
    emit = Nodes([node.inputs[0], *node.inputs[2:]])
    add = AddRecurrent(emit, "rnn_int8", "rnn", node, plan)
    found = add(node.inputs, vector, [Tensor(node, index) for index in read])
    heads = [found[Tensor(node, index)] for index in read]
    symbol = symbol_of(Graph(emit.nodes, heads, {"attrs": {"mxnet_version": ["int", 10901]}}))
    return run(symbol, {name: mx.nd.array(value) for name, value in emit.params.items()}, {}, **data)


def main() -> None:
    """Answer requests until there are no more. Whatever else writes to the standard output is sent elsewhere."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        kinds: Dict[str, Dict[str, Any]] = {"args": {}, "aux": {}, "inputs": {}}
        for (kind, name), value in zip(request["names"], _loaded(Path(request["path"]))):
            kinds[kind][name] = value if kind == "inputs" else mx.nd.array(value, dtype=value.dtype)
        symbol = mx.sym.load_json(request["symbol"])
        np.savez(request["path"], *forward(symbol, kinds["args"], kinds["aux"], **kinds["inputs"]))
        replies.write("done\n")
        replies.flush()


if __name__ == "__main__":
    main()
