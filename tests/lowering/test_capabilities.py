"""The tables of what targets compute in int8 are true: every row by a network, and every operator by a row."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Callable, Dict, Iterable, Iterator, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import pytest

import mxquant
from mxquant import QuantPlan
from mxquant.graph import Network, Node
from mxquant.graph.passes import canonicalize
from mxquant.lowering.capability import Capability, by_operator
from mxquant.lowering.int8_operator import Int8Operator
from mxquant.lowering.isa import detect
from mxquant.lowering.trial import lstm_failure
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from mxquant.targets import TARGETS
from tests.families.small import SMALL, built
from tests.lowering import test_cudnn, test_small_networks
from tests.lowering.gpu_interpreter import run_as_gpu
from tests.networks import conv, dense, forward, images, network_of, random_params, relu, sqnr
from tests.onnx_export.runtimes import in_onnxruntime

F = mx.sym
ROWS = [(target, row) for target, each in TARGETS.items() for row in each.capabilities]
# What is a node's own in each row.
OWN: Dict[str, Any] = {"data": (), "weights": (), "sum_input": None, "bound": None, "settled": 0}
FLAGS = ("channel_wise", "float_output", "fuses_requantize", "reads_zero_point", "returns_zero_point")
CONVERSIONS = {"_contrib_requantize", "_contrib_quantize_v2", "broadcast_add"}

Build = Callable[[Any], Any]


def of_rows(rows: Iterable[Tuple[str, Capability]]) -> Any:
    """Run a test for rows, with their names."""
    chosen = list(rows)
    return pytest.mark.parametrize(("target", "row"), chosen, ids=[f"{target}-{row.layer}" for target, row in chosen])


class Example(NamedTuple):
    """A layer called 'it' that has all that its row says, and a layer with weights that reads it."""

    build: Build
    shape: Tuple[int, ...] = (4, 8, 8, 8)
    reader: Build = lambda x: conv(x, "after", kernel=1)


def pool(x: Any, name: str, **attrs: Any) -> Any:
    return F.Pooling(x, **{"kernel": (2, 2), "stride": (2, 2), "pool_type": "max", "name": name, **attrs})


def rows_read(x: Any) -> Any:
    return dense(x, "after")


def steps_read(x: Any) -> Any:
    return dense(x, "after", flatten=False)


def lstm(x: Any) -> Any:
    state = F.zeros((1, 2, 160))
    return F.RNN(x, F.var("p"), state, state, state_size=160, num_layers=1, mode="lstm", name="it")


def embedding(x: Any) -> Any:
    return F.Embedding(x, input_dim=9, output_dim=8, name="it")


EXAMPLES: Dict[str, Example] = {
    "Convolution": Example(lambda x: relu(conv(x, "it", pad=(0, 0)), "then")),
    "FullyConnected": Example(lambda x: dense(x, "it"), reader=rows_read),
    "Pooling": Example(lambda x: pool(x, "it")),
    "Flatten": Example(lambda x: F.Flatten(x, name="it"), reader=rows_read),
    "Activation": Example(lambda x: relu(pool(x, "pooled"), "it")),
    "Concat": Example(lambda x: F.Concat(x, conv(x, "other"), dim=1, name="it")),
    "elemwise_add": Example(lambda x: F.elemwise_add(pool(x, "first"), pool(conv(x, "other"), "second"), name="it")),
    "Reshape, expand_dims, squeeze": Example(lambda x: F.Reshape(x, shape=(0, 4, -1, 0), name="it")),
    "BatchNorm": Example(lambda x: F.BatchNorm(pool(x, "pooled"), fix_gamma=False, name="it")),
    "elemwise_mul": Example(lambda x: F.elemwise_mul(conv(x, "one"), conv(x, "other"), name="it")),
    "Embedding": Example(embedding, (4, 5), rows_read),
    "RNN": Example(lstm, (5, 2, 8), steps_read),
}
# Other forms that a layer has in ONNX.
ALSO: Dict[str, Sequence[Build]] = {
    "FullyConnected": [lambda x: dense(x, "it", flatten=False, no_bias=True)],
    "Pooling": [
        lambda x: pool(x, "it", pool_type="avg"),
        lambda x: pool(x, "it", global_pool=True),
        lambda x: pool(x, "it", global_pool=True, pool_type="avg"),
    ],
}
# What may be fused with the layer before it, and what is not.
FUSED: Dict[str, Build] = {
    **{
        kind: lambda x, k=kind: F.Activation(x, act_type=k, name="then")
        for kind in ("relu", "sigmoid", "tanh", "softrelu", "softsign")
    },
    **{
        kind: lambda x, k=kind: F.LeakyReLU(x, act_type=k, name="then")
        for kind in ("leaky", "elu", "selu", "gelu", "prelu")
    },
    **{kind: lambda x, k=kind: getattr(F, k)(x, name="then") for kind in ("abs", "square", "sqrt", "exp", "negative")},
    "clip": lambda x: F.clip(x, 0, 6, name="then"),
    "elemwise_add": lambda x: F.elemwise_add(x, F.var("summand"), name="then"),
}


def without_activation(row: Capability) -> Build:
    return EXAMPLES[row.layer].build if row.layer != "Convolution" else lambda x: conv(x, "it")


def network_for(example: Example, build: Optional[Build] = None, read: bool = True, signed: bool = False) -> Any:
    """Return a network with an example, which reads images out of a convolution, or what is fed."""
    data = F.var("data")
    if len(example.shape) == 4:
        data = conv(data, "before") if signed else relu(conv(data, "before"), "positive")
    symbol = (build or example.build)(data)
    return example.reader(symbol) if read else symbol


def prepared(target: str, symbol: Any, shape: Tuple[int, ...]) -> Network:
    network = canonicalize(network_of(symbol, *random_params(symbol, data=shape))).network
    return TARGETS[target].prepare(network, True, frozenset())


def layer(network: Network, name: str) -> Node:
    return next(node for node in network.graph.operators if name in node.layers)


def int8(target: str, network: Network, node: Node) -> Int8Operator:
    found = TARGETS[target].describe(network, node, True)
    assert isinstance(found, Int8Operator), found
    return found


class Lowered(NamedTuple):
    """An example's own node, its plan with all in int8 that can be, and the nodes and outputs of what it becomes."""

    node: Node
    plan: QuantPlan
    nodes: Sequence[Any]
    found: Callable[[], np.ndarray]
    expected: np.ndarray


def lowered(target: str, row: Capability, build: Optional[Build] = None, **how: bool) -> Lowered:
    """Return what becomes of a row's example."""
    example = EXAMPLES[row.layer]
    symbol = network_for(example, build, **{"signed": "uint8" not in row.int8.accepts, **how})
    args, aux = random_params(symbol, data=example.shape)
    params = {"arg_params": args, "aux_params": aux}
    data = images(*example.shape)
    if row.layer == "Embedding":
        data = (np.arange(data.size, dtype=np.float32) % 9).reshape(data.shape)
    statistics = mxquant.calibrate(symbol, data, **params)
    # A level that has the LSTM.
    isa = "avx2" if row.layer == "RNN" else detect()
    options = {"target": target, "mode": "full", "isa": isa, "gpu_operations_per_byte": 1e-3, **params}
    plan = mxquant.make_plan(symbol, statistics, **options)
    assert plan.layers["it"].precision == "int8"
    node = layer(prepared(target, symbol, example.shape), "it")
    expected = forward(symbol, args, aux, data=data)[0]
    if target == "onnx_qdq":
        model = mxquant.export_onnx(symbol, plan=plan, input_shapes=example.shape, **params).proto
        return Lowered(node, plan, model.graph.node, lambda: in_onnxruntime(model, data=data)[0], expected)
    made = mxquant.lower(symbol, plan, **params)
    values = made.arg_params, made.aux_params
    on_gpu, on_cpu = partial(run_as_gpu, made.symbol, values[0]), partial(forward, made.symbol, *values)
    run = on_gpu if target == "cudnn" else on_cpu
    return Lowered(node, plan, graph_of(made.symbol).operators, lambda: run(data=data)[0], expected)


@of_rows(ROWS)
def test_a_layer_that_meets_all_conditions_has_what_its_row_says(target: str, row: Capability) -> None:
    example = EXAMPLES[row.layer]
    network = prepared(target, network_for(example), example.shape)
    node = layer(network, "it")
    found = int8(target, network, node)
    activation = "relu" if row.layer == "Convolution" else None
    expected = replace(row.int8, op=row.int8.op or node.op, result=row.result(activation))
    assert node.op in row.operators
    assert replace(found, **OWN) == replace(expected, **OWN)
    assert found.data[: len(row.int8.data)] == row.int8.data
    assert found.weights[: len(row.int8.weights)] == row.int8.weights


@pytest.mark.parametrize("kind", FUSED)
@of_rows(ROWS)
def test_what_a_row_fuses_becomes_one_node_and_nothing_else_does(target: str, row: Capability, kind: str) -> None:
    example = EXAMPLES[row.layer]
    symbol = FUSED[kind](network_for(example, without_activation(row), read=False))
    network = prepared(target, symbol, example.shape)
    assert (layer(network, "it") is layer(network, "then")) == (kind in row.fuses)
    if kind in row.fuses:
        assert int8(target, network, layer(network, "it")).result == row.result(kind)


@of_rows((target, row) for target, row in ROWS if target != "onnx_qdq")
def test_the_int8_node_requantizes_and_adds_its_bias_as_its_row_says(target: str, row: Capability) -> None:
    network = lowered(target, row)
    made = next(node for node in network.nodes if node.name == f"quantized_{network.node.name}")
    readers = {node.op for node in network.nodes for tensor in node.inputs if tensor.node is made}
    assert made.op == (row.int8.op or network.node.op)
    assert ("broadcast_add" in readers) == row.int8.int32_bias
    assert row.int8.output == "float32" or (not readers & CONVERSIONS) == row.int8.fuses_requantize


@of_rows((target, row) for target, row in ROWS if target == "onnx_qdq")
def test_onnx_has_the_operators_of_a_row(target: str, row: Capability) -> None:
    forms = [lowered(target, row, build).nodes for build in (None, *ALSO.get(row.layer, ()))]
    assert {node.op_type for nodes in forms for node in nodes if node.name == "it"} == set(row.emits)


@of_rows(ROWS)
def test_the_weights_of_a_layer_have_the_scales_of_its_row(target: str, row: Capability) -> None:
    scales = "channel-wise" if row.int8.channel_wise else "tensor-wise"
    assert lowered(target, row).plan.layers["it"].granularity == (scales if row.int8.must else None)


@of_rows((target, row) for target, row in ROWS if row.int8.output in ("own", "float32"))
def test_what_only_float32_reads_is_float32_where_its_row_says_so(target: str, row: Capability) -> None:
    last = lowered(target, row, read=False).nodes[-1]
    converted = (last.op_type if target == "onnx_qdq" else last.op) in ("DequantizeLinear", "_contrib_dequantize")
    assert converted != (row.int8.float_output or row.int8.output == "float32")


@pytest.mark.parametrize("signed", [True, False])
@of_rows((target, row) for target, row in ROWS if row.int8.data)
def test_a_layer_runs_on_the_types_of_its_row_and_computes_what_float32_does(
    target: str, row: Capability, signed: bool
) -> None:
    unsigned = TARGETS[target].has_uint8 and not signed and row.layer != "elemwise_mul"
    if unsigned and "uint8" not in row.int8.accepts:
        pytest.skip("it is int8 behind int8 only")
    made = lowered(target, row, signed=signed)
    assert made.plan.tensors[made.node.inputs[0].name].dtype == ("uint8" if unsigned else "int8")
    assert sqnr(made.expected, made.found()) > 22


@pytest.mark.parametrize(
    ("target", "row", "kind"),
    [pytest.param(target, row, kind, id=f"{target}-{row.layer}-{kind}") for target, row in ROWS for kind in row.fuses],
)
def test_a_layer_computes_what_it_fuses_as_float32_does(target: str, row: Capability, kind: str) -> None:
    made = lowered(target, row, lambda x: FUSED[kind](without_activation(row)(x)))
    result = made.plan.tensors["then_output"]
    with_zero_point = bool(result.zero_point) and row.int8.returns_zero_point
    assert result.dtype == row.result(kind) or with_zero_point or row.int8.result == "any"
    assert sqnr(made.expected, made.found()) > 22


@of_rows((target, row) for target, row in ROWS if not row.int8.data)
def test_a_layer_that_makes_its_codes_inside_computes_what_float32_does(target: str, row: Capability) -> None:
    if row.layer == "RNN" and lstm_failure():
        pytest.skip("this CPU has no int8 LSTM")
    made = lowered(target, row)
    assert sqnr(made.expected, made.found()) > 22


def many_networks() -> Iterator[Network]:
    """Yield canonical networks in which each operator is used in many ways."""
    for cases, shape in ((test_small_networks.CASES, test_small_networks.SHAPE), (test_cudnn.CASES, test_cudnn.SHAPE)):
        for case in cases.values():
            symbol = getattr(case, "build", case)(F.var("data"))
            yield canonicalize(network_of(symbol, *random_params(symbol, data=shape))).network
    for name in SMALL:
        yield canonicalize(network_of(*built(name)[:3])).network


def is_within(row: Capability, node: Node, found: Int8Operator) -> bool:
    """Whether an operator has nothing that its row has not."""
    less = {flag: getattr(row.int8, flag) and getattr(found, flag) for flag in FLAGS}
    results = {row.int8.result, *(row.result(kind) for kind in row.fuses)}
    expected = replace(row.int8, op=row.int8.op or node.op, note=found.note, result=found.result, **less)
    return replace(found, **OWN) == replace(expected, **OWN) and found.result in results


@pytest.mark.parametrize("target", TARGETS)
def test_whatever_runs_in_int8_has_a_row_and_no_more_than_that(target: str) -> None:
    rows, seen = by_operator(TARGETS[target].capabilities), set()
    for canonical in many_networks():
        for calibrated in (True, False):
            network = TARGETS[target].prepare(canonical, calibrated, frozenset())
            for node in network.graph.operators:
                found = TARGETS[target].describe(network, node, calibrated)
                if isinstance(found, Int8Operator):
                    seen.add(rows[node.op].layer)
                    assert is_within(rows[node.op], node, found), (node, found)
    assert seen >= {row.layer for row in rows.values()} - {"RNN", "Embedding"}


@pytest.mark.parametrize("target", TARGETS)
def test_an_operator_has_one_row(target: str) -> None:
    operators = [operator for row in TARGETS[target].capabilities for operator in row.operators]
    assert len(operators) == len(set(operators))
