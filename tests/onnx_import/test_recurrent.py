"""ONNX's LSTM, GRU and RNN, as other exporters than this one write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import numpy as np
import pytest

from mxquant import GraphError
from tests.networks import images
from tests.onnx_import.models import check, model_of, node, read, whole

STEPS, BATCH, WIDTH, UNITS = 6, 3, 4, 5
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
NAMES = ("weights", "of_state", "bias", "", "state", "cell")


def constants(op: str, directions: int = 1) -> Dict[str, np.ndarray]:
    """Return weights of the data, of the state, biases, and states to begin with."""
    rng, rows = np.random.RandomState(0), GATES[op] * UNITS
    shapes = {
        **{"weights": (directions, rows, WIDTH), "of_state": (directions, rows, UNITS), "bias": (directions, 2 * rows)},
        **dict.fromkeys(("state", "cell"), (directions, BATCH, UNITS)),
    }
    return {name: 0.5 * rng.randn(*shape).astype(np.float32) for name, shape in shapes.items()}


def network(op: str, inputs: int, **attrs: Any) -> Any:
    """Return a model of one layer that reads that many inputs, and returns its states behind its steps."""
    attrs.setdefault("hidden_size", UNITS)
    if op == "GRU":
        attrs.setdefault("linear_before_reset", 1)
    outputs = ("steps", "last", "cells")[: 3 if op == "LSTM" else 2]
    layer = node(op, "x", *NAMES[: inputs - 1], outputs=outputs, **attrs)
    nodes: List[Any] = [layer, node("Unsqueeze", "last", "front", outputs=("ahead",))]
    directions = 2 if attrs.get("direction") == "bidirectional" else 1
    parts = ["steps", "ahead"]
    if op == "LSTM":
        nodes.append(node("Unsqueeze", "cells", "front", outputs=("cells_ahead",)))
        parts.append("cells_ahead")
    nodes.append(node("Concat", *parts, axis=0))
    given = {name: value for name, value in constants(op, directions).items() if name in layer.input}
    return model_of(nodes, (STEPS, BATCH, WIDTH), front=whole(0), **given)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("op", "inputs"), [("LSTM", 3), ("LSTM", 7), ("GRU", 4), ("GRU", 6), ("RNN", 3), ("RNN", 6)])
def test_a_layer_is_onnx_runtimes(op: str, inputs: int, direction: str, tmp_path: Path) -> None:
    check(network(op, inputs, direction=direction), tmp_path, images(STEPS, BATCH, WIDTH))


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_a_layer_of_relu(direction: str, tmp_path: Path) -> None:
    count = 2 if direction == "bidirectional" else 1
    model = network("RNN", 4, direction=direction, activations=["Relu"] * count)
    check(model, tmp_path, images(STEPS, BATCH, WIDTH))


REFUSED = {
    "its activations are HardSigmoid, Tanh, Tanh, expected Sigmoid, Tanh, Tanh": (
        *("LSTM", {"activations": ["HardSigmoid", "Tanh", "Tanh"]}),
    ),
    "clip is set": ("LSTM", {"clip": 3.0}),
    "input_forget is set": ("LSTM", {"input_forget": 1}),
    "linear_before_reset is 0": ("GRU", {"linear_before_reset": 0}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_mxnet_has_not_is_refused(message: str, tmp_path: Path) -> None:
    op, attrs = REFUSED[message]
    with pytest.raises(GraphError, match=rf"ONNX node 'the_{op}_steps' \({op}\): {message}"):
        read(network(op, 4, **attrs), tmp_path)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for name, shape, message in (
        (
            "of_state",
            (1, 3 * UNITS, UNITS),
            r"its weights have the shapes \(1, 20, 4\) and \(1, 15, 5\), expected \(1, 20, i",
        ),
        ("weights", (2, 4 * UNITS, WIDTH), r"its weights have the shapes \(2, 20, 4\)"),
        ("bias", (1, 4 * UNITS), r"its biases have the shape \(1, 20\), expected \(1, 40\)"),
    ):
        given = {**constants("LSTM"), name: np.ones(shape, np.float32)}
        layer = node("LSTM", "x", *NAMES[:3], outputs=("y",), hidden_size=UNITS)
        read_by_it = {each: given[each] for each in NAMES[:3]}
        with pytest.raises(GraphError, match=message):
            read(model_of([layer], (STEPS, BATCH, WIDTH), **read_by_it), tmp_path)


def test_lengths_and_peepholes_are_refused(tmp_path: Path) -> None:
    given = {**constants("LSTM"), "lengths": np.int32([6, 3, 2]), "peepholes": np.ones((1, 3 * UNITS), np.float32)}
    for inputs, message in (
        (("weights", "of_state", "bias", "lengths"), "sequences have lengths of their own"),
        (("weights", "of_state", "bias", "", "state", "cell", "peepholes"), "it has peepholes"),
    ):
        layer = node("LSTM", "x", *inputs, outputs=("y",), hidden_size=UNITS)
        read_by_it = {name: given[name] for name in inputs if name}
        with pytest.raises(GraphError, match=message):
            read(model_of([layer], (STEPS, BATCH, WIDTH), **read_by_it), tmp_path)
