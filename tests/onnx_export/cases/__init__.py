"""Cases of every operator that can be translated: small networks, one for each way to use it.

They lie as the translations do: those of mxquant/onnx_export/layers.py are tried by the cases of layers.py here.
Operators of mx.np have a file of their own. The operator of a case is its name up to the first blank.
"""

from __future__ import annotations

from tests.onnx_export.cases import (
    arithmetic,
    choices,
    detection,
    layers,
    multibox,
    numpy_operators,
    proposals,
    recurrent,
    sampling,
    sequences,
    tensors,
)
from tests.onnx_export.cases.parts import Cases

__all__ = ["CASES", "KINDS"]

KINDS = (
    *(layers, tensors, numpy_operators, arithmetic, sequences, choices),
    *(sampling, detection, multibox, proposals, recurrent),
)
CASES: Cases = {name: case for kind in KINDS for name, case in kind.CASES.items()}
