"""ONNX's own tests of single operators, through from_onnx and MXNet: a process that writes what comes of each.

::

    python -m tests.onnx_import.node_tests JOURNAL FIRST

Every test has two lines of JSON in the journal, one before it is run and one after, so that one that ends the process
is known.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np
import onnx

import mxquant
from mxquant.runtime.mxnet import mx
from tests.networks import forward

RIGHT, REFUSED, WRONG, RAISED = "right", "refused", "wrong", "raised"


def cases() -> List[Any]:
    """Return all tests, by name."""
    from onnx.backend.test.case.node import collect_testcases

    return sorted(collect_testcases(None), key=lambda case: case.name)


def outcome(case: Any, folder: Path) -> Tuple[str, str]:
    """Return what comes of a test, and what is said of it."""
    onnx.save(case.model, str(folder / "net.onnx"))
    try:
        symbol, args, aux = mxquant.from_onnx(folder / "net.onnx")
    except mxquant.MXQuantError as error:
        return REFUSED, str(error)
    except BaseException as error:
        return RAISED, f"from_onnx: {error!r}"
    names = [each.name for each in case.model.graph.input]
    for inputs, outputs in case.data_sets:
        given = {name: value for name, value in zip(names, map(array, inputs)) if name in symbol.list_inputs()}
        try:
            found = forward(symbol, args, aux, **given)
        except mx.MXNetError as error:
            return RAISED, f"MXNet: {str(error)[:300]}"
        for a, b in zip(found, map(array, outputs)):
            if a.shape != b.shape:
                return WRONG, f"its shape is {a.shape}, expected {b.shape}"
            if not np.allclose(a, b, rtol=max(case.rtol or 0, 1e-3), atol=1e-5, equal_nan=True):
                return WRONG, f"the largest error is {np.abs(a - b).max()}"
    return RIGHT, ""


def array(value: Any) -> np.ndarray:
    """Return numbers as MXNet has them: float32, with an axis at least."""
    value = onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    return np.atleast_1d(value.astype(np.float32))


def main(journal: str, first: str) -> None:
    with open(journal, "a", encoding="utf-8") as file, tempfile.TemporaryDirectory() as folder:

        def write(line: Dict[str, Any]) -> None:
            print(json.dumps(line), file=file, flush=True)

        for case in cases()[int(first) :]:
            write({"name": case.name, "operators": sorted({node.op_type for node in case.model.graph.node})})
            verdict, said = outcome(case, Path(folder))
            write({"verdict": verdict, "said": said})


if __name__ == "__main__":
    main(*sys.argv[1:])
