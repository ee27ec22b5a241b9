"""Quantizes a network, writes it as ONNX, and runs it in OpenVINO: int8 beside fp32, SQNR and speed, in turns.

::

    pip install '.[onnx]' openvino
    python example/export_openvino.py
    python example/export_openvino.py --checkpoint net --images photos --output net-int8.onnx

fp32 is the same network, exported without a plan, in OpenVINO too. Images have the layout of MXNet, NCHW; the batch of
the files is free.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Optional, Sequence

os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

import numpy as np
from example_images import UsageError, add_image_options, images_of, positive
from gluon_networks import zoo
from imagenet_data import DataError
from side_by_side import Side, in_turns, table

import mxquant


def parse(arguments: Optional[Sequence[str]]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Quantize a network and run it in OpenVINO, beside fp32.")
    parser.add_argument("--checkpoint", metavar="PREFIX", help="reads PREFIX-symbol.json, PREFIX-0000.params")
    parser.add_argument(
        "--network", default="mobilenetv2_1.0", metavar="NAME", help="of the zoo; default: mobilenetv2_1.0"
    )
    parser.add_argument("--params", type=Path, metavar="FILE", help="its weights, of save_parameters; default: random")
    add_image_options(parser)
    parser.add_argument("--accuracy", choices=("fast", "balanced", "best"), default="fast", help="default: fast")
    parser.add_argument("--threads", type=positive, default=os.cpu_count(), metavar="N", help="default: all processors")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the int8 network goes; default: nowhere")
    options = parser.parse_args(arguments)
    if options.checkpoint and options.params:
        parser.error("--params is for --network; a checkpoint has its own")
    return options


def compiled(path: Path, threads: int) -> Side:
    """Return an ONNX file as what :func:`in_turns` runs in OpenVINO."""
    import openvino

    # By itself OpenVINO takes bfloat16 for float32 where the CPU has it.
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.compile_model(str(path), "CPU", settings)
    return Side(lambda batch: np.array(model([batch])[0]))


def run_in(folder: Path, options: argparse.Namespace) -> None:
    """Write the fp32 and the int8 network, the former into a folder, and compare them."""
    images = images_of(options)
    net = options.checkpoint or zoo(options.network, options.params, options.size)
    files = folder / "fp32.onnx", options.output or folder / "int8.onnx"
    mxquant.export_onnx(net, files[0], input_shapes=images.calibration.shape)
    model = mxquant.quantize(net, images.calibration, target="onnx_qdq", accuracy=options.accuracy)
    model.save(files[1])
    layers = model.plan.layers.values()
    print(f"{sum(layer.precision == 'int8' for layer in layers)} of {len(layers)} layers in int8")
    fp32, int8 = (compiled(file, options.threads) for file in files)
    in_turns((fp32, int8), images.evaluation, options.batch_size)
    print(table(fp32, {"int8": int8}))
    if options.output:
        print(f"saved {options.output}")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; return 0, or 2 after telling what was wrong with the options or files."""
    options = parse(arguments)
    try:
        if find_spec("openvino") is None:
            raise UsageError("OpenVINO is missing; pip install openvino")
        with tempfile.TemporaryDirectory() as folder:
            run_in(Path(folder), options)
    except (mxquant.MXQuantError, DataError, UsageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
