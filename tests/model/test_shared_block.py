"""A block is called by several threads from the beginning: the first call of all is made alone."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock
from typing import Any, List

import numpy as np
import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, images, random_params, relu

THREADS = 4
DATA = images(2, 3, 8, 8)


def int8() -> Any:
    symbol = dense(relu(conv(mx.sym.var("data"), "c")), "fc", 5)
    args, aux = random_params(symbol, data=DATA.shape)
    return mxquant.quantize(symbol, DATA, arg_params=args, aux_params=aux, accuracy="fast")


def called(block: Any) -> List[np.ndarray]:
    """Return what a block returns to each of several threads that call it at once."""
    together = Barrier(THREADS)

    def call(_: int) -> np.ndarray:
        together.wait()
        return block(mx.nd.array(DATA)).asnumpy()

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(call, range(THREADS)))


class Watched:
    """MXNet's calls: which of them found no operator yet, and how many threads were in one at most."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.first: List[bool] = []
        self.now = self.most = 0
        lock, original = Lock(), mx.gluon.SymbolBlock._call_cached_op

        def call(block: Any, *args: Any) -> Any:
            with lock:
                self.first.append(block._cached_op is None)
                self.now += 1
                self.most = max(self.most, self.now)
            time.sleep(0.1)
            found = original(block, *args)
            with lock:
                self.now -= 1
            return found

        monkeypatch.setattr(mx.gluon.SymbolBlock, "_call_cached_op", call)


@pytest.mark.parametrize("again", [False, True])
def test_the_first_call_is_made_by_one_thread(again: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = int8()
    expected = model.as_block()(mx.nd.array(DATA)).asnumpy()
    block = model.as_block()
    if again:
        block(mx.nd.array(DATA))
        block.hybridize()
    watched = Watched(monkeypatch)
    for found in called(block):
        np.testing.assert_array_equal(found, expected)
    # Without a lock each of them comes before the first one has ended, and makes an operator.
    assert watched.first == [True] + [False] * (THREADS - 1)


def test_later_calls_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    block = int8().as_block()
    block(mx.nd.array(DATA))
    watched = Watched(monkeypatch)
    called(block)
    assert watched.most > 1
