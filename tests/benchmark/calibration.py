"""What calibration costs beside the forward passes that it cannot do without: time by images, and memory."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

import numpy as np

import mxquant
from mxquant.runtime.mxnet import mx
from tests.benchmark.machine import peak_memory
from tests.benchmark.turns import in_turns
from tests.networks import images, zoo_network

__all__ = ["BATCH", "beside_forward", "calls_on", "peak_megabytes"]

BATCH = 8


def _forward(net: Any, batches: Any) -> None:
    symbol, args, aux = net
    executor = None
    for batch in batches:
        data = batch.data[0]
        if executor is None:
            executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=data.shape)
            executor.copy_params_from(args, aux)
        executor.forward(is_train=False, data=data)[0].wait_to_read()


def _calibration(net: Any, batches: Any) -> None:
    symbol, args, aux = net
    params = {"arg_params": args, "aux_params": aux}
    mxquant.make_plan(symbol, mxquant.calibrate(symbol, batches, target="onednn", **params), method="entropy", **params)


CALLS: Dict[str, Callable[[Any, Any], None]] = {"forward": _forward, "calibration": _calibration}


def beside_forward(name: str, count: int, rounds: int) -> Dict[str, List[float]]:
    """Return the seconds of plain fp32 forward passes and of calibration with entropy thresholds, in turns.

    Parameters
    ----------
    name : str
        A network of the zoo.
    count : int
        Images of 224 x 224, in batches of 8.
    rounds : int
        How often; the first time of all is left out.
    """
    data = images(count, 3, 224, 224)
    net = zoo_network(name, data[:BATCH])
    return in_turns(calls_on(net, data), rounds)


def calls_on(net: Any, data: np.ndarray) -> Dict[str, Callable[[], None]]:
    """Return the calls to compare, on the batches of an array."""
    return {
        kind: lambda call=call: call(net, mx.io.NDArrayIter(data, batch_size=BATCH))  # type: ignore[misc]
        for kind, call in CALLS.items()
    }


def peak_megabytes(name: str, kind: str, count: int, size: int) -> float:
    """Return the largest resident memory of this process, after forward passes or calibration.

    Parameters
    ----------
    name : str
        A network of the zoo.
    kind : {'forward', 'calibration'}
        What to do.
    count, size : int
        Images of `size` x `size`, made one batch at a time.
    """
    net = zoo_network(name, images(BATCH, 3, size, size))
    data = images(BATCH, 3, size, size)

    class Batches(mx.io.DataIter):
        """The same batch again and again, without keeping any."""

        def __init__(self) -> None:
            super().__init__(BATCH)
            self.left = count // BATCH
            self.provide_data = [mx.io.DataDesc("data", data.shape, np.float32)]
            self.provide_label = []

        def next(self) -> Any:
            if not self.left:
                raise StopIteration
            self.left -= 1
            return mx.io.DataBatch([mx.nd.array(data)], pad=0)

        def reset(self) -> None:
            self.left = count // BATCH

    CALLS[kind](net, Batches())
    return peak_memory()
