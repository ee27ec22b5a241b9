"""Scores of a classifier: accuracy, faithfulness to fp32, speed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Dict, List

import numpy as np
from imagenet_data import Batch

from mxquant.runtime.mxnet import mx

__all__ = ["Runner", "accuracy", "agreement", "random_batch", "sqnr"]

WARM_UP = 2


@dataclass
class Runner:
    """A network bound for one batch size, which keeps what it returns and how long it takes.

    Parameters
    ----------
    symbol : mxnet.symbol.Symbol
        The network; its first output is scored.
    arg_params, aux_params : dict of str to NDArray
        Its parameters.
    data_name : str
        Its input.
    batch_size : int
        Images that are run at once; smaller batches are filled up.
    ctx : mxnet.Context
        Where it runs.
    """

    symbol: Any
    arg_params: Dict[str, Any]
    aux_params: Dict[str, Any]
    data_name: str
    batch_size: int
    ctx: Any = field(default_factory=mx.cpu)
    outputs: List[np.ndarray] = field(default_factory=list)
    seconds: List[float] = field(default_factory=list)
    module: Any = None

    def run(self, images: np.ndarray) -> None:
        """Run one batch; images beyond the last are filled up with zeros, and their outputs left out."""
        full = np.zeros((self.batch_size, *images.shape[1:]), np.float32)
        full[: len(images)] = images
        batch = mx.io.DataBatch([mx.nd.array(full)])
        if self.module is None:
            self._bind(full.shape)
            for _ in range(WARM_UP):
                self._forward(batch)
        start = time.perf_counter()
        output = self._forward(batch)
        self.seconds.append(time.perf_counter() - start)
        self.outputs.append(output[: len(images)])

    def _bind(self, shape: Any) -> None:
        labels = [name for name in self.symbol.list_arguments() if name.endswith("label")]
        self.module = mx.mod.Module(self.symbol, [self.data_name], labels or None, context=self.ctx)
        label_shapes = [(name, shape[:1]) for name in labels] or None
        self.module.bind([(self.data_name, shape)], label_shapes, for_training=False)
        self.module.set_params(self.arg_params, self.aux_params)

    def _forward(self, batch: Any) -> np.ndarray:
        self.module.forward(batch, is_train=False)
        return self.module.get_outputs()[0].asnumpy()

    @property
    def images_per_second(self) -> float:
        """Throughput by the median batch."""
        return self.batch_size / median(self.seconds)

    @property
    def logits(self) -> np.ndarray:
        """Outputs of all images so far."""
        return np.concatenate(self.outputs)


def accuracy(logits: np.ndarray, labels: np.ndarray, top: int = 1) -> float:
    """Return the share of images whose class is among the `top` most likely."""
    best = np.argsort(-logits, axis=1)[:, :top]
    return float((best == labels[:, None]).any(axis=1).mean())


def agreement(reference: np.ndarray, logits: np.ndarray) -> float:
    """Return the share of images to which both give the same class."""
    return float((reference.argmax(axis=1) == logits.argmax(axis=1)).mean())


def sqnr(reference: np.ndarray, logits: np.ndarray) -> float:
    """Return the signal-to-quantization-noise ratio in dB: 10 log10(sum y² / sum (y - y')²)."""
    signal, noise = (np.square(each, dtype=np.float64).sum() for each in (reference, reference - logits))
    return float(10 * np.log10(signal / noise)) if noise else float("inf")


def random_batch(batch_size: int, height: int, width: int) -> Batch:
    """Return a batch of noise, for measuring speed."""
    images = np.random.RandomState(0).standard_normal((batch_size, 3, height, width))
    return Batch(images.astype(np.float32), np.zeros(batch_size, int))
