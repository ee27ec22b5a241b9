"""A calibration that was interrupted goes on from its file, with the same statistics to the last byte."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Iterator, List

import numpy as np
import pytest

import mxquant
from mxquant.calibration import checkpoint as module
from mxquant.errors import InputError, StatisticsError
from mxquant.runtime.mxnet import mx
from tests.networks import conv, images, random_params, relu

SYMBOL = relu(conv(relu(conv(mx.sym.var("data"), "c1")), "c2"))
DATA = images(24, 4, 8, 8)
ARGS, AUX = random_params(SYMBOL, data=DATA.shape)
PARAMS = {"arg_params": ARGS, "aux_params": AUX}


@pytest.fixture(autouse=True)
def at_a_terminal() -> Iterator[None]:
    """Let Ctrl-C do what it does at a terminal: a shell starts jobs in the background so that they ignore it."""
    original = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, original)


def batches(size: int = 4) -> List[np.ndarray]:
    return [DATA[begin : begin + size] for begin in range(0, len(DATA), size)]


def interrupted_in(number: int) -> Iterator[np.ndarray]:
    """Yield batches; Ctrl-C comes while one of them is run."""
    for index, batch in enumerate(batches()):
        if index == number:
            os.kill(os.getpid(), signal.SIGINT)
        yield batch


def test_ctrl_c_leaves_a_file_from_which_the_next_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "partial.npz"
    with pytest.raises(KeyboardInterrupt):
        mxquant.calibrate(SYMBOL, interrupted_in(3), checkpoint=path, **PARAMS)
    assert mxquant.Statistics.load(path).num_examples == 16  # the batch that was running is counted whole
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    steps: List[Any] = []
    resumed = mxquant.calibrate(
        SYMBOL, batches(), checkpoint=path, progress=lambda *step: steps.append(step[1]), **PARAMS
    )
    assert steps == [20, 24]
    assert not path.exists()
    resumed.save(tmp_path / "resumed.npz")
    mxquant.calibrate(SYMBOL, batches(), **PARAMS).save(tmp_path / "whole.npz")
    assert (tmp_path / "resumed.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_where_ctrl_c_is_ignored_it_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "partial.npz"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    found = mxquant.calibrate(SYMBOL, interrupted_in(3), checkpoint=path, **PARAMS)
    assert found == mxquant.calibrate(SYMBOL, batches(), **PARAMS)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_it_goes_on_within_a_batch_of_another_size(tmp_path: Path) -> None:
    path = tmp_path / "partial.npz"
    mxquant.calibrate(SYMBOL, DATA[:10], **PARAMS).save(path)
    resumed = mxquant.calibrate(SYMBOL, batches(8), checkpoint=path, **PARAMS)
    whole = mxquant.calibrate(SYMBOL, DATA, **PARAMS)
    assert resumed.num_examples == 24
    assert resumed.histograms == whole.histograms and resumed.channel_sums == whole.channel_sums


def test_the_file_is_written_from_time_to_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.0)
    path, found = tmp_path / "partial.npz", []

    def look(step: str, done: int, total: Any) -> None:
        found.append(mxquant.Statistics.load(path).num_examples if path.exists() else 0)

    mxquant.calibrate(SYMBOL, batches(), checkpoint=path, progress=look, **PARAMS)
    assert found == [0, 4, 8, 12, 16, 20]


def test_a_file_that_has_all_examples_is_the_result(tmp_path: Path) -> None:
    path = tmp_path / "partial.npz"
    whole = mxquant.calibrate(SYMBOL, batches(), **PARAMS)
    whole.save(path)
    assert mxquant.calibrate(SYMBOL, batches(), checkpoint=path, **PARAMS) == whole
    assert not path.exists()


def test_a_file_of_more_examples_or_of_another_network_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "partial.npz"
    mxquant.calibrate(SYMBOL, DATA, **PARAMS).save(path)
    with pytest.raises(InputError, match=r"partial.npz' is of 24 examples, the data hold 8; delete it to begin anew"):
        mxquant.calibrate(SYMBOL, DATA[:8], checkpoint=path, **PARAMS)
    other = {**PARAMS, "arg_params": {**ARGS, "c1_bias": ARGS["c1_bias"] + 1}}
    with pytest.raises(StatisticsError, match="belongs to network"):
        mxquant.calibrate(SYMBOL, DATA, checkpoint=path, **other)
    assert path.exists()
