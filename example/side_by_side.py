"""An fp32 and an int8 network, run in turns: how fast each is, and how near int8 comes to fp32.

Turns, since a machine is not equally fast from one second to the next: what slows it down then hits both.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import Callable, Dict, List, Sequence, Tuple

import numpy as np
from scoring import agreement, sqnr

__all__ = ["Side", "in_turns", "table"]

WARM_UP = 2


@dataclass
class Side:
    """One of the networks that are compared: a function of a batch, what it has returned, and how long it took.

    Parameters
    ----------
    run : callable
        Takes float32 of shape (n, 3, height, width) and returns an array, when it is done.
    """

    run: Callable[[np.ndarray], np.ndarray]
    outputs: List[np.ndarray] = field(default_factory=list)
    seconds: List[float] = field(default_factory=list)

    @property
    def milliseconds(self) -> float:
        """Time of the median batch."""
        return 1e3 * median(self.seconds)

    @property
    def output(self) -> np.ndarray:
        """What was returned for all images."""
        return np.concatenate(self.outputs)


def in_turns(sides: Sequence[Side], images: np.ndarray, batch_size: int) -> None:
    """Run all images through each network, one batch by one and the other, after batches that do not count."""
    batches = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
    for _ in range(WARM_UP):
        for side in sides:
            side.run(batches[0])
    for batch in batches:
        for side in sides:
            begin = time.perf_counter()
            side.outputs.append(side.run(batch))
            # A last batch that is smaller would count as a fast one.
            if len(batch) == len(batches[0]):
                side.seconds.append(time.perf_counter() - begin)


def table(fp32: Side, others: Dict[str, Side]) -> str:
    """Return the time of each network, how near its output is to fp32, and how often it gives the same class."""
    batch = len(fp32.outputs[0])
    rows: List[Tuple[str, ...]] = [("", f"ms per batch of {batch}", "times as fast", "SQNR, dB", "same class")]
    rows.append(("fp32", f"{fp32.milliseconds:.1f}", "1.00", "-", "-"))
    for name, side in others.items():
        ratio = fp32.milliseconds / side.milliseconds
        near = sqnr(fp32.output, side.output), agreement(fp32.output, side.output)
        rows.append((name, f"{side.milliseconds:.1f}", f"{ratio:.2f}", f"{near[0]:.2f}", f"{near[1]:.4f}"))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows)
