"""A template: copy this file, change the lines marked CHANGE, and run it; it needs nothing else of this folder.

::

    python example/quantize_your_own.py                            # tries itself on a network with random weights
    python example/quantize_your_own.py net images -o net-int8     # net-symbol.json, net-0000.params; a folder

It loads a checkpoint, reads images as the network wants them, calibrates, quantizes, compares with fp32, and saves.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Callable, List, Optional, Sequence, Tuple

os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")  # MXNet would tell of every fusion

import numpy as np

import mxquant  # before MXNet: it gives back what MXNet 1.9 misses, and lets it use all processors

# isort: split
import mxnet as mx

SIZE = 224  # CHANGE: side of the images that the network takes
MEAN = (123.675, 116.28, 103.53)  # CHANGE: subtracted, for red, green, blue; pixels are 0 to 255
STD = (58.395, 57.12, 57.375)  # CHANGE: divided by
CALIBRATION, EVALUATION = 32, 32  # CHANGE: how many images; a few hundred of the former are better
BATCH_SIZE, WARM_UP = 8, 2
EXCLUDED: List[str] = []  # CHANGE: layers that stay float32, by their names in your network or wildcards
ACCURACY = "fast"  # CHANGE: 'balanced' takes longer and loses less, 'best' still more so


def preprocess(path: Path) -> np.ndarray:
    """Return an image as float32 of shape (3, SIZE, SIZE), exactly as in training."""
    # CHANGE, if yours differs: int8 ranges that were found on other pixels than those of use are wrong.
    pixels = mx.image.resize_short(mx.image.imread(str(path)), SIZE * 256 // 224)
    pixels = mx.image.center_crop(pixels, (SIZE, SIZE))[0].asnumpy().astype(np.float32)
    return ((pixels - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)


def read_images(folder: Path) -> Tuple[np.ndarray, np.ndarray]:
    """Return images to calibrate on, and others to compare on: what was calibrated on says little of what was not."""
    suffixes = {".jpg", ".jpeg", ".png"}
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    if len(files) < 2:
        raise ValueError(f"'{folder}' has {len(files)} images, expected at least 2: to calibrate and to compare")
    # Mixed, always in the same way: calibration has to see images of all kinds.
    order = np.random.RandomState(0).permutation(len(files))[: CALIBRATION + EVALUATION]
    count = min(CALIBRATION, len(order) // 2)
    images = np.stack([preprocess(files[i]) for i in order])
    return images[:count], images[count:]


def bound(network: Tuple[Any, Any, Any], shape: Tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that runs a network on a batch of this shape and returns its first output."""
    symbol, arg_params, aux_params = network
    # CHANGE, if they are called otherwise: the input of the network, and its labels, which are of no use here.
    name, labels = "data", [label for label in symbol.list_arguments() if label.endswith("label")]
    module = mx.mod.Module(symbol, [name], labels or None)
    module.bind([(name, shape)], [(label, shape[:1]) for label in labels] or None, for_training=False)
    module.set_params(arg_params, aux_params)

    def forward(images: np.ndarray) -> np.ndarray:
        module.forward(mx.io.DataBatch([mx.nd.array(images)]), is_train=False)
        return module.get_outputs()[0].asnumpy()

    return forward


def run_in_turns(networks: Sequence[Any], images: np.ndarray) -> List[Tuple[np.ndarray, float]]:
    """Return what each network gives for all images, and the seconds of its median batch."""
    size = min(BATCH_SIZE, len(images))
    # The last batch is filled up with the first images.
    filled = np.concatenate([images, images[: -len(images) % size]])
    batches = [filled[i : i + size] for i in range(0, len(filled), size)]
    runs = [bound(network, batches[0].shape) for network in networks]
    outputs: List[List[np.ndarray]] = [[] for _ in runs]
    seconds: List[List[float]] = [[] for _ in runs]
    for batch in (*batches[:1] * WARM_UP, *batches):
        for i, run in enumerate(runs):
            begin = time.perf_counter()
            outputs[i].append(run(batch))
            seconds[i].append(time.perf_counter() - begin)
    results = [np.concatenate(each[WARM_UP:])[: len(images)] for each in outputs]
    return list(zip(results, [median(each[WARM_UP:]) for each in seconds]))


def quantize(prefix: str, calibration: np.ndarray, evaluation: np.ndarray, output: Optional[str]) -> None:
    """Quantize the network of a checkpoint, compare, and save."""
    symbol, arg_params, aux_params = mx.model.load_checkpoint(prefix, 0)
    model = mxquant.quantize(
        symbol,
        calibration,
        arg_params=arg_params,
        aux_params=aux_params,
        exclude_layers=EXCLUDED,
        accuracy=ACCURACY,
    )

    # Which layers are in int8, and why others are not.
    for layer in model.plan.layers.values():
        if layer.precision == "float32":
            print(f"float32: {layer.name}: {layer.reason}")

    # What each layer has lost, with the layers before it and by itself.
    networks = (symbol, arg_params, aux_params), (model.symbol, model.arg_params, model.aux_params)
    print(mxquant.compare(symbol, model, evaluation, arg_params=arg_params, aux_params=aux_params).table())

    # CHANGE: what counts is your own measure, such as accuracy on labels; SQNR tells how near int8 is to fp32.
    (reference, slow), (result, fast) = run_in_turns(networks, evaluation)
    noise = np.square(reference - result, dtype=np.float64).sum()
    decibels = 10 * np.log10(np.square(reference, dtype=np.float64).sum() / max(noise, 1e-30))
    same = (reference.argmax(axis=1) == result.argmax(axis=1)).mean()
    print(f"SQNR {decibels:.2f} dB, same class {same:.4f}, {slow / fast:.2f} times as fast as fp32")

    if output:
        model.save(output)  # mx.model.load_checkpoint(output, 0) reads it, where mxquant is not installed too
        print(f"saved {output}-symbol.json, {output}-0000.params, {output}-plan.json")


def example_checkpoint(folder: str) -> str:
    """Write a network with random weights, so that the template runs before anything is changed."""
    mx.random.seed(0)
    net = mx.gluon.model_zoo.vision.mobilenet0_25()
    net.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    net.hybridize()
    net(mx.nd.zeros((1, 3, SIZE, SIZE)))
    net.export(f"{folder}/net")
    return f"{folder}/net"


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; return 0, or 2 after telling what was wrong with the options or files."""
    parser = argparse.ArgumentParser(description="Quantize the network of a checkpoint; compare it with fp32; save it.")
    parser.add_argument("prefix", nargs="?", help="reads PREFIX-symbol.json and PREFIX-0000.params; default: random")
    parser.add_argument("images", nargs="?", type=Path, help="a folder of images; default: noise")
    parser.add_argument("-o", "--output", metavar="PREFIX", help="write the int8 network; default: nowhere")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            prefix = options.prefix or example_checkpoint(folder)
            images = np.random.RandomState(0).randn(24, 3, SIZE, SIZE).astype(np.float32)
            calibration, evaluation = read_images(options.images) if options.images else (images[:8], images[8:])
            quantize(prefix, calibration, evaluation, options.output)
    except (mxquant.MXQuantError, mx.MXNetError, OSError, ValueError) as error:
        print(f"error: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
