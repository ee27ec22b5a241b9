"""Every reason that planner and targets give for float32 has a remedy."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Iterator, List

import pytest

import mxquant
from mxquant.doctor.remedies import REMEDIES, remedy
from mxquant.planning.magnitudes import LOST

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
    telling += "|prepares|has decided|constants|operands|batch of what"
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
    known += [f"MXNet has no int8 {op} on the CPU" for op in ("LayerNorm", "Reshape", "_npi_add")]
    assert [pattern for pattern, _ in REMEDIES if not any(re.search(pattern, text) for text in known)] == []


def test_a_negative_axis_is_explained() -> None:
    assert "dim=3 instead of dim=-1" in remedy("MXNet's int8 Concat needs a positive axis, this one has dim=-1")
    assert remedy("the moon is full") == ""


@pytest.mark.parametrize("op", ["_contrib_quantized_rnn", "LayerNorm", "softmax", "transpose", "SequenceMask"])
def test_what_stays_float32_by_rule_is_not_called_a_loss(op: str) -> None:
    found = remedy(f"MXNet has no int8 {op} on the CPU")
    assert ("replace it" in found) == op.startswith("_contrib")
