"""The network as a drawing: layers in rows, each below those that it reads, and lines between them.

A layer's row is the length of the longest way to it. Within a row layers stand in the order of what they read, so that
few lines cross; a line that passes rows by goes round them on the right. Zeros and the like, which recurrent layers
begin with, are not drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Sequence, Tuple

from mxquant.doctor.findings import LayerFindings

__all__ = ["Box", "Drawing", "draw"]

WIDTH, HEIGHT, ACROSS, DOWN = 236, 58, 28, 24
_CONSTANTS = ("_zeros", "_ones", "_full")
# How far lines that pass rows by lie apart, and how many places they have.
_LANE, _LANES, _MARGIN = 9, 6, 12


@dataclass(frozen=True)
class Box:
    """A layer in the drawing; x and y are its upper left corner."""

    layer: LayerFindings
    index: int
    x: int
    y: int


@dataclass(frozen=True)
class Drawing:
    """Boxes, paths of lines, and the size of all."""

    boxes: Tuple[Box, ...]
    lines: Tuple[str, ...]
    width: int
    height: int


def draw(layers: Sequence[LayerFindings]) -> Drawing:
    """Return the drawing of a network.

    Parameters
    ----------
    layers : sequence of LayerFindings
        Each after those that it reads.
    """
    drawn = [layer for layer in layers if layer.op not in _CONSTANTS]
    rows = _rows(drawn)
    most = max(map(len, rows), default=1)
    inner = most * WIDTH + (most - 1) * ACROSS
    boxes: Dict[str, Box] = {}
    indices = {layer.name: index for index, layer in enumerate(layers)}
    for number, row in enumerate(rows):
        left = _MARGIN + (inner - len(row) * WIDTH - (len(row) - 1) * ACROSS) // 2
        for place, layer in enumerate(row):
            x, y = left + place * (WIDTH + ACROSS), _MARGIN + number * (HEIGHT + DOWN)
            boxes[layer.name] = Box(layer, indices[layer.name], x, y)
    right = _MARGIN + inner
    lines = []
    passing = 0
    for layer in drawn:
        for source in layer.reads:
            begin, end = boxes.get(source), boxes[layer.name]
            if begin is None:
                continue
            beside = 0
            if end.y - begin.y > HEIGHT + DOWN:
                beside = right + _LANE * (1 + passing % _LANES)
                passing += 1
            lines.append(_path(begin, end, beside))
    ordered = tuple(sorted(boxes.values(), key=lambda box: box.index))
    width = right + _LANE * (_LANES + 1) + _MARGIN if passing else right + _MARGIN
    return Drawing(ordered, tuple(lines), width, 2 * _MARGIN + len(rows) * (HEIGHT + DOWN) - DOWN)


def _rows(layers: Sequence[LayerFindings]) -> List[List[LayerFindings]]:
    depth: Dict[str, int] = {}
    rows: List[List[LayerFindings]] = []
    for layer in layers:
        depth[layer.name] = 1 + max((depth[name] for name in layer.reads if name in depth), default=-1)
        while len(rows) <= depth[layer.name]:
            rows.append([])
        rows[depth[layer.name]].append(layer)
    places: Dict[str, float] = {}
    for row in rows:
        row.sort(key=lambda layer: _middle([places[name] for name in layer.reads if name in places]))
        places.update({layer.name: place - (len(row) - 1) / 2 for place, layer in enumerate(row)})
    return rows


def _middle(places: Sequence[float]) -> float:
    return sum(places) / len(places) if places else 0.0


def _path(begin: Box, end: Box, beside: int) -> str:
    x0, y0 = begin.x + WIDTH // 2, begin.y + HEIGHT
    x1, y1 = end.x + WIDTH // 2, end.y
    if not beside:
        half = (y0 + y1) // 2
        return f"M{x0} {y0}C{x0} {half} {x1} {half} {x1} {y1}"
    bend = DOWN // 2
    down, up = y0 + bend, y1 - bend
    return (
        f"M{x0} {y0}C{x0} {down} {x0} {down} {x0 + bend} {down}L{beside - bend} {down}Q{beside} {down} {beside} "
        f"{down + bend}L{beside} {up - bend}Q{beside} {up} {beside - bend} {up}L{x1 + bend} {up}"
        f"C{x1} {up} {x1} {up} {x1} {y1}"
    )
