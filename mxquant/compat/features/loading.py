"""Data for Gluon: DataLoader with all kinds of workers, data sets, samplers and transforms."""

from __future__ import annotations

import multiprocessing
from typing import Any, Callable, List, Tuple

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.gluon.data import (
    ArrayDataset,
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    SimpleDataset,
)
from mxnet.gluon.data.vision import transforms

from mxquant.compat.features.compare import as_numpy, close, equal, holds
from mxquant.compat.features.feature import Feature

__all__ = ["FEATURES", "Squares"]


class Squares(Dataset):
    """Ten rows: an array of MXNet's, one of NumPy's, a scalar and a truth."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> Tuple[Any, ...]:
        row = mx.nd.full((2, 3), index * index)
        return row, np.full(4, index, "uint8"), np.float32(index / 2), np.bool_(index % 2)


def _check_batches(loader: Any) -> None:
    """Compare two epochs of batches with the rows."""
    for _ in range(2):
        start = 0
        for squares, bytes_, halves, odd in loader:
            numbers = np.arange(start, min(start + 4, 10))
            equal(squares, np.broadcast_to((numbers**2).astype("float32")[:, None, None], (len(numbers), 2, 3)))
            equal(bytes_, np.broadcast_to(numbers.astype("uint8")[:, None], (len(numbers), 4)))
            equal(as_numpy(halves).ravel(), (numbers / 2).astype("float32"))
            equal(as_numpy(odd).ravel().astype(bool), numbers % 2 == 1)
            start += 4
        equal(start, 12)


def _without_workers() -> None:
    _check_batches(DataLoader(Squares(), 4))
    equal([len(batch[1]) for batch in DataLoader(Squares(), 4, last_batch="discard")], [4, 4])
    both = [batch[2].asnumpy() for batch in DataLoader(Squares(), 5, shuffle=True)]
    equal(np.sort(np.concatenate(both).ravel()), np.arange(10, dtype="float32") / 2)


def _with_threads() -> None:
    _check_batches(DataLoader(Squares(), 4, num_workers=2, thread_pool=True))


def _with_processes(method: str) -> Callable[[], None]:
    def check() -> None:
        before = multiprocessing.get_start_method(allow_none=True)
        multiprocessing.set_start_method(method, force=True)
        try:
            _check_batches(DataLoader(Squares(), 4, num_workers=2))
        finally:
            multiprocessing.set_start_method(before, force=True)

    return check


def _data_sets() -> None:
    numbers = SimpleDataset(list(range(10)))
    equal(list(numbers.transform(lambda value: value * value)[np.int64(3)] for _ in "a"), [9])
    equal([*numbers.filter(lambda value: value % 3 == 0)], [0, 3, 6, 9])
    equal([*numbers.shard(3, 1)], [4, 5, 6])
    equal([*numbers.take(2)], [0, 1])
    equal([*numbers.sample(SequentialSampler(3))], [0, 1, 2])
    pairs = ArrayDataset(np.arange(6).reshape(3, 2), mx.nd.array([5, 6, 7])).transform_first(lambda row: row.sum())
    equal([(int(row), int(label)) for row, label in pairs], [(1, 5), (5, 6), (9, 7)])
    equal(sorted(RandomSampler(7)), list(range(7)))
    rolled = BatchSampler(SequentialSampler(5), 2, "rollover")
    equal([list(rolled), list(rolled)], [[[0, 1], [2, 3]], [[4, 0], [1, 2], [3, 4]]])
    intervals = gluon.contrib.data.IntervalSampler(6, interval=2)
    equal(list(intervals), [0, 2, 4, 1, 3, 5])


def _picture() -> Any:
    return np.random.RandomState(3).randint(0, 256, (8, 10, 3)).astype("uint8")


def _transforms() -> None:
    picture = _picture()
    std: Any = (0.2, np.float32(0.25), np.float64(0.5))
    mean = (0.5, 0.4, 0.3)
    ready = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])
    expected = (picture.transpose(2, 0, 1) / 255 - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    close(ready(mx.nd.array(picture, dtype="uint8")), expected, 1e-4, 1e-5)
    data = mx.nd.array(picture, dtype="uint8")
    equal(transforms.CenterCrop((6, 4))(data), picture[2:6, 2:8])
    equal(transforms.CropResize(np.int64(1), 2, 5, 4)(data), picture[2:6, 1:6])
    equal(transforms.Resize((20, 16))(data).shape, (16, 20, 3))
    equal(transforms.Resize(4, keep_ratio=True)(data).shape, (4, 5, 3))
    equal(transforms.Cast("float16")(data), picture.astype("float16"))
    flipped = transforms.RandomFlipLeftRight()
    seen = {flipped(data).asnumpy().tobytes() for _ in range(20)}
    equal(seen, {picture.tobytes(), picture[:, ::-1].tobytes()})
    equal(transforms.RandomResizedCrop((5, np.int64(4)))(data).shape, (4, 5, 3))
    jittered = transforms.RandomColorJitter(0.4, 0.4, 0.4, 0.1)(data.astype("float32"))
    holds(np.isfinite(jittered.asnumpy()).all() and not np.array_equal(as_numpy(jittered), picture), "colours change")
    brighter = as_numpy(transforms.RandomBrightness(0.5)(data.astype("float32")))
    factors = brighter[picture > 0] / picture[picture > 0]
    close(factors, np.full_like(factors, factors[0]), 1e-3)
    holds(0.5 <= factors[0] <= 1.5, "brightness stays within its bounds")


def _split_and_load() -> None:
    contexts = [mx.cpu(0), mx.cpu(1)]
    parts = gluon.utils.split_and_load(np.arange(10, dtype="float32").reshape(5, 2), contexts, even_split=False)
    equal([part.context for part in parts], contexts)
    equal(np.concatenate([as_numpy(part) for part in parts]), np.arange(10, dtype="float32").reshape(5, 2))
    arrays: List[Any] = [mx.nd.array([3, 0]), mx.nd.array([4])]
    close(gluon.utils.clip_global_norm(arrays, np.float32(2.5)), 5.0)
    close(arrays[0], [1.5, 0])


FEATURES = (
    Feature("DataLoader with workers by spawn", _with_processes("spawn")),
    Feature("DataLoader with workers by forkserver", _with_processes("forkserver")),
    Feature("DataLoader with workers by fork", _with_processes("fork")),
    Feature("DataLoader with threads", _with_threads),
    Feature("DataLoader without workers", _without_workers),
    Feature("data sets and samplers", _data_sets),
    Feature("transforms of images", _transforms),
    Feature("split_and_load, clip_global_norm", _split_and_load),
)
