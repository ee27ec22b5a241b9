"""Scores an ImageNet classifier in fp32 and int8.

With no option: EfficientNet-Lite0 with its ImageNet weights on 20 labelled images, two-fold: each half is scored by
the int8 network that was calibrated on the other half.

::

    python example/imagenet_inference.py
    python example/imagenet_inference.py --symbol-file net-symbol.json --param-file net-0000.params \
        --dataset val.rec --rgb-mean 123.68,116.779,103.939 --rgb-std 58.393,57.12,57.375
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

import efficientnet_lite0
import numpy as np
from imagenet_data import Batch, DataError, Preprocessing, embedded, open_dataset
from scoring import Runner, accuracy, agreement, random_batch, sqnr

import mxquant
from mxquant.model import load_params
from mxquant.runtime.mxnet import mx

# MXNet's names of the ways to choose thresholds, and mxquant's.
MODES = {"none": None, "naive": "minmax", "entropy": "entropy", "percentile": "percentile", "mse": "mse"}


class UsageError(ValueError):
    """Options that do not fit together."""


@dataclass(frozen=True)
class Network:
    """An fp32 network."""

    symbol: Any
    arg_params: Dict[str, Any]
    aux_params: Dict[str, Any]
    data_name: str


def parse(arguments: Optional[Sequence[str]]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(
        description="Score an ImageNet classifier in fp32 and int8. With no option: EfficientNet-Lite0 on 20 images."
    )
    parser.add_argument("--symbol-file", metavar="JSON", help="the fp32 network; default: EfficientNet-Lite0")
    parser.add_argument("--param-file", metavar="PARAMS", help="its parameters")
    parser.add_argument("--dataset", metavar="PATH", help="a .rec file with labels, or a folder of class folders")
    parser.add_argument("--image-shape", type=_shape, default=(3, 224, 224), metavar="3,H,W", help="default: 3,224,224")
    parser.add_argument("--rgb-mean", type=_three, metavar="R,G,B", help="subtracted; default: 0,0,0")
    parser.add_argument("--rgb-std", type=_three, metavar="R,G,B", help="divided by; default: 1,1,1")
    parser.add_argument("--batch-size", type=_positive, default=10, metavar="N", help="default: 10")
    parser.add_argument(
        "--num-calib-batches", type=_positive, default=5, metavar="N", help="batches to calibrate on; default: 5"
    )
    parser.add_argument("--calib-mode", choices=MODES, default="entropy", help="how thresholds are chosen")
    parser.add_argument("--num-inference-batches", type=_positive, metavar="N", help="batches to score; default: all")
    parser.add_argument(
        "--num-skipped-batches", type=int, metavar="N", help="batches not to score; default: those of the calibration"
    )
    parser.add_argument(
        "--exclude", nargs="*", default=[], metavar="LAYER", help="layers that stay float32, by name or wildcard"
    )
    parser.add_argument("--ctx", choices=("cpu", "gpu"), default="cpu", help="where to run; default: cpu")
    parser.add_argument("--save-prefix", metavar="PREFIX", help="write the int8 network to PREFIX-symbol.json, ...")
    parser.add_argument("--benchmark", action="store_true", help="measure speed on noise, without a data set")
    options = parser.parse_args(arguments)
    if bool(options.symbol_file) != bool(options.param_file):
        parser.error("--symbol-file and --param-file go together")
    if options.symbol_file and not (options.dataset or options.benchmark):
        parser.error("--symbol-file needs --dataset or --benchmark")
    return options


def _numbers(text: str) -> Tuple[float, ...]:
    return tuple(float(part) for part in text.split(","))


def _three(text: str) -> Tuple[float, ...]:
    values = _numbers(text)
    if len(values) != 3:
        raise argparse.ArgumentTypeError(f"'{text}' are {len(values)} numbers, expected three: R,G,B")
    return values


def _shape(text: str) -> Tuple[int, ...]:
    values = tuple(int(value) for value in _three(text))
    if values[0] != 3 or min(values) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no shape of RGB images; expected 3,HEIGHT,WIDTH")
    return values


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1")
    return int(text)


def load_network(options: argparse.Namespace) -> Network:
    """Return the network that the options name."""
    if not options.symbol_file:
        block = efficientnet_lite0.load()
        symbol = block(mx.sym.var("data"))
        values = {name: parameter.data() for name, parameter in block.collect_params().items()}
        auxiliary = set(symbol.list_auxiliary_states())
        aux_params = {name: values.pop(name) for name in auxiliary}
        return Network(symbol, values, aux_params, "data")
    try:
        symbol = mx.sym.load(options.symbol_file)
    except mx.MXNetError as error:
        raise UsageError(
            f"--symbol-file: '{options.symbol_file}' cannot be read: {str(error).splitlines()[-1]}"
        ) from error
    arg_params, aux_params = load_params(options.param_file)
    known = {*arg_params, *aux_params}
    free = [name for name in symbol.list_arguments() if name not in known and not name.endswith("label")]
    if len(free) != 1:
        raise UsageError(
            f"--param-file: the network has no value for {', '.join(free) or 'nothing'}; expected one input"
        )
    return Network(symbol, dict(arg_params), dict(aux_params), free[0])


def preprocessing_of(options: argparse.Namespace) -> Preprocessing:
    """Return how images are read: as the options say, or as EfficientNet-Lite0 wants them."""
    own = bool(options.symbol_file)
    mean = options.rgb_mean or ((0.0,) * 3 if own else (127.0,) * 3)
    std = options.rgb_std or ((1.0,) * 3 if own else (128.0,) * 3)
    return Preprocessing(options.image_shape[1], options.image_shape[2], mean, std)


def quantize(network: Network, images: List[np.ndarray], options: argparse.Namespace) -> mxquant.QuantizedModel:
    """Return the int8 network, calibrated on some batches of images."""
    return mxquant.quantize(
        network.symbol,
        images,
        arg_params=network.arg_params,
        aux_params=network.aux_params,
        data_names=[network.data_name],
        method=MODES[options.calib_mode],
        ctx=context_of(options),
        exclude_layers=options.exclude,
    )


def context_of(options: argparse.Namespace) -> Any:
    """Return where both networks run."""
    return mx.gpu() if options.ctx == "gpu" else mx.cpu()


@dataclass
class Score:
    """What fp32 and int8 make of the same images."""

    fp32: Runner
    int8: Runner
    labels: List[np.ndarray]

    @classmethod
    def of(cls, fp32: Network, int8: mxquant.QuantizedModel, batches: Iterator[Batch], options: Any) -> Score:
        """Return the score on all batches; the two networks take turns, so that noise of the machine hits both."""
        batch_size, ctx = options.batch_size, context_of(options)
        runners = [
            Runner(net.symbol, net.arg_params, net.aux_params, fp32.data_name, batch_size, ctx) for net in (fp32, int8)
        ]
        labels = []
        for batch in batches:
            for runner in runners:
                runner.run(batch.images)
            labels.append(batch.labels)
        if not labels:
            raise UsageError("there is no image left to score; lower --num-calib-batches or --num-skipped-batches")
        return cls(*runners, labels)

    def __add__(self, other: Score) -> Score:
        for mine, theirs in ((self.fp32, other.fp32), (self.int8, other.int8)):
            mine.outputs += theirs.outputs
            mine.seconds += theirs.seconds
        return Score(self.fp32, self.int8, self.labels + other.labels)

    def print(self) -> None:
        """Print each network's score as MXNet's example does, then both side by side."""
        labels = np.concatenate(self.labels)
        table = []
        for title, runner in (("fp32", self.fp32), ("int8", self.int8)):
            top1, top5 = (accuracy(runner.logits, labels, top) for top in (1, 5))
            print(f"{title}: finished with {runner.images_per_second:f} images per second")
            print(f"{title}: {('accuracy', top1)}")
            print(f"{title}: {('top_k_accuracy_5', top5)}")
            table.append((runner.images_per_second, top1, top5))
        count = f"{len(labels)} images"
        print(f"\n{count:<19}{'fp32':>8}{'int8':>10}{'int8/fp32':>12}")
        for name, fp32, int8 in zip(("images per second", "top-1 accuracy", "top-5 accuracy"), *table):
            ratio = f"{int8 / fp32:>12.3f}" if fp32 else f"{'-':>12}"
            form = ".1f" if name == "images per second" else ".4f"
            print(f"{name:<19}{fp32:>8{form}}{int8:>10{form}}{ratio}")
        self.print_faithfulness()

    def print_faithfulness(self, title: str = "") -> None:
        """Print how near int8 comes to fp32."""
        reference, logits = self.fp32.logits, self.int8.logits
        same = agreement(reference, logits)
        print(f"{title}SQNR {sqnr(reference, logits):.2f} dB, same top-1 as fp32 {same:.4f}")


def two_fold(network: Network, options: argparse.Namespace) -> Tuple[Score, mxquant.QuantizedModel]:
    """Score the embedded images, each half by the network that was calibrated on the other half."""
    data = embedded(preprocessing_of(options))
    half = len(data.labels) // 2
    folds = [Batch(data.images[part], data.labels[part]) for part in (slice(half), slice(half, None))]
    scores, networks = [], []
    for calibration, evaluation in (folds, folds[::-1]):
        limit = options.num_calib_batches * options.batch_size
        networks.append(quantize(network, [calibration.images[:limit]], options))
        batches = _cut(evaluation, options.batch_size)
        if options.num_inference_batches:
            batches = batches[: options.num_inference_batches]
        scores.append(Score.of(network, networks[-1], iter(batches), options))
    scores[0].print_faithfulness("E1 (calibrated on images 00-09, scored on 10-19): ")
    return scores[0] + scores[1], networks[0]


def _cut(data: Batch, size: int) -> List[Batch]:
    return [Batch(data.images[i : i + size], data.labels[i : i + size]) for i in range(0, len(data.labels), size)]


def on_dataset(network: Network, options: argparse.Namespace) -> Tuple[Score, mxquant.QuantizedModel]:
    """Calibrate on the first batches of the data set and score those after them."""
    preprocessing = preprocessing_of(options)
    count = 0 if options.calib_mode == "none" else options.num_calib_batches
    calibration = [b.images for b in islice(open_dataset(options.dataset, preprocessing, options.batch_size), count)]
    int8 = quantize(network, calibration, options)
    skipped = count if options.num_skipped_batches is None else options.num_skipped_batches
    stop = skipped + options.num_inference_batches if options.num_inference_batches else None
    batches = islice(open_dataset(options.dataset, preprocessing, options.batch_size), skipped, stop)
    return Score.of(network, int8, batches, options), int8


def benchmark(network: Network, options: argparse.Namespace) -> Tuple[Score, mxquant.QuantizedModel]:
    """Measure speed on noise."""
    batch = random_batch(options.batch_size, *options.image_shape[1:])
    int8 = quantize(network, [batch.images], options)
    repeats = options.num_inference_batches or 20
    return Score.of(network, int8, iter([batch] * repeats), options), int8


def run(options: argparse.Namespace) -> None:
    """Do what the options say."""
    if options.ctx == "gpu" and not mx.context.num_gpus():
        raise UsageError("--ctx gpu: MXNet sees no GPU; use --ctx cpu")
    if options.save_prefix and not Path(options.save_prefix).parent.is_dir():
        raise UsageError(f"--save-prefix: there is no folder '{Path(options.save_prefix).parent}'")
    network = load_network(options)
    if options.benchmark:
        score, int8 = benchmark(network, options)
    elif options.dataset:
        score, int8 = on_dataset(network, options)
    else:
        score, int8 = two_fold(network, options)
    if options.benchmark:
        fp32, fast = score.fp32.images_per_second, score.int8.images_per_second
        print(f"images per second: fp32 {fp32:.1f}, int8 {fast:.1f}, ratio {fast / fp32:.2f}")
    else:
        score.print()
    if options.save_prefix:
        int8.save(options.save_prefix)
        names = ", ".join(f"{options.save_prefix}-{end}" for end in ("symbol.json", "0000.params", "plan.json"))
        print(f"\nsaved {names}")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the command; return 0, or 2 after telling what was wrong with the options or files."""
    options = parse(arguments)
    try:
        run(options)
    except (mxquant.MXQuantError, DataError, UsageError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
