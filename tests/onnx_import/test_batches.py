"""A file's own batch does not fix that of the network, also where it was multiplied into a shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

import mxquant
from tests.networks import forward, images, sqnr
from tests.onnx_import.models import check, model_of, node, whole

STEPS, HEADS, WIDTH = 5, 2, 3
CHANNELS = HEADS * WIDTH


def attention(batch: int) -> Any:
    """Return attention with heads that are joined with the batch for products of three axes, and taken apart again."""
    nodes: List[Any] = [
        node("MatMul", "x", "w", outputs=("q",)),
        node("Reshape", "q", "heads", outputs=("h",)),
        node("Transpose", "h", outputs=("t",), perm=[0, 2, 1, 3]),
        node("Reshape", "t", "joined", outputs=("j",)),
        node("Transpose", "j", outputs=("k",), perm=[0, 2, 1]),
        node("MatMul", "j", "k", outputs=("s",)),
        node("Softmax", "s", outputs=("p",), axis=2),
        node("MatMul", "p", "j", outputs=("v",)),
        node("Reshape", "v", "apart", outputs=("a",)),
        node("Transpose", "a", outputs=("b",), perm=[0, 2, 1, 3]),
        node("Reshape", "b", "flat"),
    ]
    return model_of(
        nodes,
        (batch, STEPS, CHANNELS),
        w=images(CHANNELS, CHANNELS),
        heads=whole(batch, STEPS, HEADS, WIDTH),
        joined=whole(batch * HEADS, STEPS, WIDTH),
        apart=whole(batch, HEADS, STEPS, WIDTH),
        flat=whole(batch, STEPS, CHANNELS),
    )


@pytest.mark.parametrize("batch", [1, 2])
def test_heads_of_attention_leave_the_batch_free(batch: int, tmp_path: Path) -> None:
    network = check(attention(batch), tmp_path, images(batch, STEPS, CHANNELS))
    data = images(6, STEPS, CHANNELS, seed=3)
    (together,) = forward(*network, x=data)
    parts = [forward(*network, x=data[i : i + batch])[0] for i in range(0, 6, batch)]
    np.testing.assert_allclose(together, np.concatenate(parts), rtol=1e-5, atol=1e-6)
    model = mxquant.quantize(network.symbol, data, arg_params=network.arg_params, aux_params=network.aux_params)
    (found,) = forward(model.symbol, dict(model.arg_params), dict(model.aux_params), x=data)
    assert sqnr(together, found) > 25


def test_steps_in_front_of_the_batch_are_not_taken_for_it(tmp_path: Path) -> None:
    joined = [node("Reshape", "x", "rows", outputs=("r",)), node("Relu", "r", outputs=("a",))]
    model = model_of(
        [*joined, node("Reshape", "a", "apart")],
        (STEPS, 2, WIDTH),
        rows=whole(STEPS * 2, WIDTH),
        apart=whole(STEPS, 2, WIDTH),
    )
    check(model, tmp_path, images(STEPS, 2, WIDTH))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_constants_of_one_example_leave_the_batch_free(op: str, tmp_path: Path) -> None:
    """Such as the anchors of a detector, which was exported for one image."""
    anchors = images(1, 2, 7) + 3
    model = model_of([node(op, "x", "anchors")], (1, 2, 7), anchors=anchors)
    network = check(model, tmp_path, images(1, 2, 7))
    data = images(3, 2, 7, seed=3)
    (together,) = forward(*network, x=data)
    expected = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[op](data, anchors)
    np.testing.assert_allclose(together, expected, rtol=1e-6)
