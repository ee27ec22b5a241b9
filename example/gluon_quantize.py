"""Quantizes a network of MXNet's Gluon zoo and compares int8 with fp32: SQNR, agreement and speed, in turns.

::

    python example/gluon_quantize.py
    python example/gluon_quantize.py --network resnet50_v1 --params resnet50_v1.params --images photos --save net-int8

Without ``--params`` weights are random: SQNR and speed mean what they say, the class of an image does not.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, Optional, Sequence

os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

from pathlib import Path

import numpy as np
from example_images import UsageError, add_image_options, images_of
from gluon_networks import zoo
from imagenet_data import DataError
from side_by_side import Side, in_turns, table

import mxquant
from mxquant.runtime.mxnet import mx


def parse(arguments: Optional[Sequence[str]]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Quantize a network of the Gluon zoo and compare int8 with fp32.")
    parser.add_argument("--network", default="mobilenetv2_1.0", metavar="NAME", help="default: mobilenetv2_1.0")
    parser.add_argument("--params", type=Path, metavar="FILE", help="its weights, of save_parameters; default: random")
    add_image_options(parser)
    parser.add_argument("--accuracy", choices=("fast", "balanced", "best"), default="fast", help="default: fast")
    parser.add_argument("--save", metavar="PREFIX", help="write the int8 network to PREFIX-symbol.json, ...")
    return parser.parse_args(arguments)


def runner(block: Any, backend: Optional[str] = None) -> Side:
    """Return a Gluon block as what :func:`in_turns` runs; `backend` is what fuses its layers."""
    block.hybridize(backend=backend, static_alloc=True, static_shape=True)
    return Side(lambda batch: block(mx.nd.array(batch)).asnumpy())


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    images = images_of(options)
    net = zoo(options.network, options.params, options.size)
    model = mxquant.quantize(net, images.calibration, accuracy=options.accuracy)
    layers = model.plan.layers.values()
    print(f"{options.network}: {sum(layer.precision == 'int8' for layer in layers)} of {len(layers)} layers in int8")
    # The int8 network is fused; fp32 without MXNet's fusions would be slower than it has to be.
    fp32, int8 = runner(net, "MKLDNN"), runner(model.as_block())
    in_turns((fp32, int8), images.evaluation.astype(np.float32), options.batch_size)
    print(table(fp32, {"int8": int8}))
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
