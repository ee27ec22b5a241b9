"""What SmoothQuant gains on a BERT with outlier channels: ``python -m tests.benchmark.smoothing``.

Three of 64 channels behind each LayerNorm are 20, 50 and 100 times larger, and what reads them is as much smaller, so
that they count as much as the others. The SQNR of the four outputs is that of the simulation, the same on every CPU.
"""

from __future__ import annotations

import warnings
from typing import Any, Dict, List
from unittest import mock

import mxquant
from tests.families.text_networks import BertSize, bert, tokens, with_outliers

SIZE = BertSize(2, 64, 128, 4, length=32)
FACTORS, LEVELS = (20, 50, 100), ("vnni", "avx2")
HEADS = ("sequence", "pooled", "classes", "vocabulary")


def levels(factor: float, isa: str, smoothing: bool) -> Dict[str, float]:
    """Return the SQNR of each output in dB, on sentences that are not calibrated on."""
    net = with_outliers(bert(SIZE), factor)
    unchanged: Any = lambda network, inputs: (network, frozenset())  # noqa: E731
    with mock.patch("mxquant.accuracy.smoothing.smooth", unchanged) if not smoothing else warnings.catch_warnings():
        model = mxquant.quantize(net, [tokens(SIZE, 32, 16)], isa=isa)
    found = mxquant.compare(net, model, [tokens(SIZE, 16, 16, seed=9)])
    return dict(zip(HEADS, (output.sqnr for output in found.outputs)))


def table() -> str:
    """Return the measurements as Markdown."""
    lines: List[str] = [f"| times | isa | SmoothQuant | {' | '.join(HEADS)} |", f"|{'---|' * (3 + len(HEADS))}"]
    for factor in FACTORS:
        for isa in LEVELS:
            for smoothing in (False, True):
                found = levels(factor, isa, smoothing)
                numbers = " | ".join(f"{value:.1f}" for value in found.values())
                lines.append(f"| {factor} | {isa} | {'yes' if smoothing else 'no'} | {numbers} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
