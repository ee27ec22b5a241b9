"""Quantizes a single-shot detector of GluonCV and compares what int8 detects with what fp32 does.

::

    pip install '.[examples-cv]'
    python example/ssd_gluoncv.py
    python example/ssd_gluoncv.py --network ssd_300_vgg16_atrous_voc --size 300 --params ssd.params --images photos

The convolutions run in int8. Anchors, the arithmetic of boxes, class probabilities and non-maximum suppression stay
float32, as MXNet has no int8 form of them; so do the results. An int8 detection counts as one of fp32 if it has the
same class and their boxes overlap by at least ``--iou``: intersection over union.

Without ``--params`` weights are random: the boxes are of nothing, but int8 has to find the same ones.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Optional, Sequence

os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

import numpy as np
from example_images import UsageError, add_image_options, images_of
from gluon_networks import fill
from imagenet_data import DataError
from side_by_side import Side, in_turns

import mxquant
from mxquant.compat import repair
from mxquant.runtime.mxnet import mx


@dataclass(frozen=True)
class Detections:
    """What was found in one image: n classes, n scores, and boxes of shape (n, 4) with corners x1, y1, x2, y2."""

    classes: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray

    @classmethod
    def of(cls, row: np.ndarray, least: float) -> Detections:
        """Return the detections of at least this score in what the network returns of one image."""
        # Places that non-maximum suppression has emptied have class -1.
        found = row[(row[:, 0] >= 0) & (row[:, 1] >= least)]
        return cls(found[:, 0], found[:, 1], found[:, 2:])


def parse(arguments: Optional[Sequence[str]]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Quantize an SSD of GluonCV and compare int8 detections with fp32.")
    default = "ssd_512_mobilenet1.0_voc"
    parser.add_argument("--network", default=default, metavar="NAME", help=f"an SSD of GluonCV; default: {default}")
    parser.add_argument("--params", type=Path, metavar="FILE", help="its weights, of save_parameters; default: random")
    add_image_options(parser, size=256, num_calib=4, num_images=8, batch_size=4)
    parser.add_argument(
        "--score", type=_share, default=0.3, metavar="S", help="least score of a detection; default: 0.3"
    )
    parser.add_argument(
        "--iou", type=_share, default=0.5, metavar="S", help="least overlap of same boxes; default: 0.5"
    )
    parser.add_argument(
        "--exclude", nargs="*", default=[], metavar="LAYER", help="layers that stay float32, wildcards too"
    )
    parser.add_argument("--save", metavar="PREFIX", help="write the int8 network to PREFIX-symbol.json, ...")
    return parser.parse_args(arguments)


def _share(text: str) -> float:
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not between 0 and 1")
    return float(text)


def detector(options: argparse.Namespace) -> Any:
    """Return the fp32 network that the options name."""
    try:
        repair("gluoncv")  # it asks for names that NumPy has dropped, as MXNet does
        from gluoncv import model_zoo
    except ImportError as error:
        raise UsageError(f"GluonCV is missing ({error}); pip install '.[examples-cv]'") from None
    if not options.network.startswith("ssd_"):
        raise UsageError(f"--network: '{options.network}' is no SSD; expected a name such as ssd_512_mobilenet1.0_voc")
    try:
        net = model_zoo.get_model(options.network, pretrained=False, pretrained_base=False)
    except ValueError:
        raise UsageError(f"--network: GluonCV has no '{options.network}'; there is ssd_512_mobilenet1.0_voc") from None
    fill(net, options.params, options.size)
    return net


def runner(block: Any, backend: Optional[str] = None) -> Side:
    """Return a detector that gives one array of shape (n, detections, 6): class, score, box."""
    block.hybridize(backend=backend, static_alloc=True, static_shape=True)
    return Side(lambda batch: mx.nd.concat(*block(mx.nd.array(batch)), dim=2).asnumpy())


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each of n boxes with each of m others, of shape (n, m)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas, other_areas = (np.prod(np.clip(each[:, 2:] - each[:, :2], 0, None), axis=1) for each in (boxes, others))
    return common / np.maximum(areas[:, None] + other_areas - common, np.finfo(np.float32).tiny)


def matched(fp32: Detections, int8: Detections, least: float) -> List[float]:
    """Return the overlaps of fp32 detections with int8 detections of the same class, each taken once, best first."""
    table = np.where(fp32.classes[:, None] == int8.classes, overlaps(fp32.boxes, int8.boxes), 0)
    found = []
    while table.size and table.max() >= max(least, 1e-6):
        row, column = np.unravel_index(table.argmax(), table.shape)
        found.append(float(table[row, column]))
        table = np.delete(np.delete(table, row, 0), column, 1)
    return found


def compare(fp32: np.ndarray, int8: np.ndarray, options: argparse.Namespace) -> str:
    """Return what both have found in the same images."""
    pairs = [[Detections.of(row, options.score) for row in each] for each in zip(fp32, int8)]
    counts = [sum(len(pair[side].scores) for pair in pairs) for side in (0, 1)]
    if not counts[0]:
        raise UsageError(f"--score: fp32 finds nothing of a score from {options.score:g} on; lower it")
    found = [overlap for pair in pairs for overlap in matched(*pair, options.iou)]
    mean = f"{np.mean(found):.3f}" if found else "-"
    return (
        f"detections: fp32 {counts[0]}, int8 {counts[1]}; same class and IoU >= {options.iou:g}: {len(found)} "
        f"({len(found) / counts[0]:.4f} of fp32's), mean IoU {mean}"
    )


def describe(plan: mxquant.QuantPlan) -> str:
    """Return which kinds of layers are in int8, and which stay float32."""
    lines = []
    for precision in ("int8", "float32"):
        kinds = Counter(layer.op for layer in plan.layers.values() if layer.precision == precision)
        lines.append(f"{precision}: {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}")
    return "\n".join(lines)


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    images = images_of(options)
    net = detector(options)
    model = mxquant.quantize(net, images.calibration, accuracy="fast", exclude_layers=options.exclude)
    print(describe(model.plan))
    fp32, int8 = runner(net, "MKLDNN"), runner(model.as_block())
    in_turns((fp32, int8), images.evaluation, options.batch_size)
    print(compare(fp32.output, int8.output, options))
    speeds = fp32.milliseconds, int8.milliseconds
    print(f"ms per batch: fp32 {speeds[0]:.1f}, int8 {speeds[1]:.1f}, {speeds[0] / speeds[1]:.2f} times as fast")
    if options.save:
        model.save(options.save)
        print(f"saved {options.save}-symbol.json, {options.save}-0000.params, {options.save}-plan.json")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; return 0, or 2 after telling what was wrong with the options or files."""
    options = parse(arguments)
    try:
        run(options)
    except (mxquant.MXQuantError, DataError, UsageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
