"""Every reason that planner and targets give for float32 has a remedy."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.doctor.remedies import REMEDIES, remedy
from mxquant.planning.magnitudes import LOST
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, forward, images, random_params

SHAPE = (2, 4, 6, 6)
ROOT = Path(mxquant.__file__).parent
FILES = ["lowering/onednn_operators.py", "lowering/onnx_qdq.py", "lowering/cudnn.py", "lowering/refusals.py"]


def texts(node: ast.AST) -> Iterator[str]:
    """Yield the text of a string or formatted string, with 'x' for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
    elif isinstance(node, (ast.BoolOp, ast.IfExp)):
        for child in ast.iter_child_nodes(node):
            yield from texts(child)


def returned(path: Path) -> List[str]:
    """Return the sentences that functions of a file return as reasons."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [
        text for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value for text in texts(node.value)
    ]
    return [text for text in found if " " in text]


def refused() -> List[str]:
    """Return the sentences that the planner gives."""
    source = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "planning").glob("*.py")))
    telling = r"float32, so|would saturate|gains nothing|every second code|on some CPUs|excluded by|bias may"
    telling += "|prepares|has decided|constants|operands|would leave|batch of what"
    return [text for text in re.findall(r'f?"([^"\n]{20,})"', source) if re.search(telling, text)]


@pytest.mark.parametrize("reason", [*(text for file in FILES for text in returned(ROOT / file)), *refused()])
def test_a_reason_has_a_remedy(reason: str) -> None:
    assert remedy(reason), reason


def test_there_are_reasons_to_look_at() -> None:
    assert len(refused()) >= 5 and len([text for file in FILES for text in returned(ROOT / file)]) > 20


def test_every_remedy_is_for_a_reason() -> None:
    known = [*(text for file in FILES for text in returned(ROOT / file)), *refused()]
    known += ["float32 is faster on this CPU", "in int8 it would take longer on a GPU", "calibration has no statistics"]
    known += [
        "with 64 units an LSTM takes longer in int8",
        LOST,
        "its BatchNorm could not be folded",
        "with one weight scale its bias would overflow int32",
    ]
    known += [f"MXNet has no int8 {op} on the CPU" for op in ("LayerNorm", "Reshape", "_npi_add", "clip", "topk")]
    known += ["global_pooling was not possible: how many axes 'x' has is not known", "relu_forms was not possible: x"]
    known += [f"MXNet's int8 convolution for GPUs is 2D, this one has a {rank}D kernel" for rank in (1, 3)]
    assert [pattern for pattern, _ in REMEDIES if not any(re.search(pattern, text) for text in known)] == []


def test_a_negative_axis_is_explained() -> None:
    assert "dim=3 instead of dim=-1" in remedy("MXNet's int8 Concat needs a positive axis, this one has dim=-1")
    assert remedy("the moon is full") == ""


@pytest.mark.parametrize("op", ["LayerNorm", "softmax", "transpose", "SequenceMask", "_npi_add"])
def test_what_stays_float32_by_rule_is_not_called_a_loss(op: str) -> None:
    assert "There is no int8 kernel" not in remedy(f"MXNet has no int8 {op} on the CPU")


def test_no_remedy_asks_for_another_network() -> None:
    assert not [text for _, text in REMEDIES if re.search(r"[Rr]eplace|[Uu]se ReLU|[Rr]etrain", text)]


X = mx.sym.var("data")
ANY_AXES = mx.sym.reshape(X, (-2,))


def joined(axis: int) -> Any:
    """Two convolutions of which the graph does not tell how many axes they have, and a third one of both."""
    parts = [mx.sym.reshape(conv(X, name), (-2,)) for name in ("c", "e")]
    return conv(mx.sym.Concat(*parts, dim=axis, name="it"), "f")


def summed(kind: str) -> Any:
    return conv(mx.sym.Pooling(conv(X, "c"), kernel=(2, 2), pool_type=kind, name="it"), "f")


def of_rows(x: Any, kernel: Tuple[int, ...], *before: int) -> Any:
    rows = mx.sym.reshape(x, (0, 0, *before, -1))
    return mx.sym.reshape(mx.sym.Convolution(rows, kernel=kernel, num_filter=8, name="it"), (0, 0, -1))


# A network, the same one as a remedy wants it, and what the weights behind are multiplied by.
FOLLOWED: Dict[str, Tuple[Any, Any, float]] = {
    "a mean of unknown axes": (
        dense(mx.sym.mean(ANY_AXES, axis=(2, 3), name="it"), "f"),
        dense(mx.sym.Pooling(ANY_AXES, global_pool=True, kernel=(1, 1), pool_type="avg", name="it"), "f"),
        1,
    ),
    "a global pooling of unknown axes": (
        dense(mx.sym.Pooling(ANY_AXES, global_pool=True, pool_type="avg", name="it"), "f"),
        dense(mx.sym.Pooling(ANY_AXES, global_pool=True, kernel=(1, 1), pool_type="avg", name="it"), "f"),
        1,
    ),
    "a ReLU of unknown type": (
        conv(mx.sym._internal._maximum_scalar(X, scalar=0, name="it"), "f"),
        conv(mx.sym.Activation(X, act_type="relu", name="it"), "f"),
        1,
    ),
    "a ReLU of a variable": (
        conv(mx.sym.relu(X, name="it"), "f"),
        conv(mx.sym.relu(mx.sym.var("data", dtype="float32"), name="it"), "f"),
        1,
    ),
    "sum pooling": (summed("sum"), summed("avg"), 4),
    "a convolution of rows": (of_rows(X, (3,)), of_rows(X, (1, 3), 1), 1),
    "a negative axis": (joined(-1), joined(3), 1),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_a_remedy_says_can_be_done_and_helps(name: str) -> None:
    before, after, times = FOLLOWED[name]
    args, _ = random_params(before, data=SHAPE)
    better = {key: value.reshape(shape) for key, value, shape in _fitting(after, args)}
    better.update({key: value * times for key, value in better.items() if key == "f_weight"})
    data = images(*SHAPE)
    expected, found = (forward(*each, {}, data=data)[0] for each in ((before, args), (after, better)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    layers = [
        mxquant.quantize(symbol, data, arg_params=params, aux_params={}, accuracy="fast", mode="full").plan.layers["it"]
        for symbol, params in ((before, args), (after, better))
    ]
    assert [layer.precision for layer in layers] == ["float32", "int8"]
    assert remedy(layers[0].reason)


def _fitting(symbol: Any, args: Dict[str, Any]) -> Iterator[Tuple[str, Any, Tuple[int, ...]]]:
    shapes = dict(zip(symbol.list_arguments(), symbol.infer_shape(data=SHAPE)[0]))
    yield from ((key, value, shapes[key]) for key, value in args.items())
