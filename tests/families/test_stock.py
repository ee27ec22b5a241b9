"""Where detectors come out of the stock tool finding nothing, they come out of mxquant finding what they found before.

With ``quantize_mode='full'`` MXNet's own tool joins classes, scores and coordinates in int8. They get one range, that
of the coordinates, one code of which is several pixels: all scores become 0, no box is above any threshold, and every
class is -1. That Concat and Flatten fail in int8, as they did in older versions of MXNet, has not been seen in 1.9.1.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from typing import Any, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from tests.families.boxes import found_again
from tests.networks import conv, forward, images, random_params, relu, sqnr

F = mx.sym
SHAPE = (2, 3, 8, 8)


def detector() -> Tuple[Any, ...]:
    """Return a detector of one class whose boxes lie in images of some hundred pixels, its parameters and data."""
    x = relu(conv(F.var("data"), "feature", 16))
    rows = F.reshape(F.transpose(conv(x, "predictor", 5), axes=(0, 2, 3, 1)), shape=(0, -1, 5))
    score, corner, size = (F.slice_axis(rows, axis=2, begin=b, end=e) for b, e in ((0, 1), (1, 3), (3, 5)))
    corner = corner * 100 + 250
    row = F.Concat(score * 0, F.sigmoid(score), corner, corner + F.exp(size) * 60, dim=2, name="rows")
    symbol = F.contrib.box_nms(row, id_index=0, score_index=1, coord_start=2, valid_thresh=0.05, topk=40, name="nms")
    return (symbol, *random_params(symbol, data=SHAPE), images(*SHAPE))


def show_what_the_stock_tool_finds() -> None:
    """Print the classes that a detector finds in int8."""
    from mxnet.contrib.quantization import quantize_model_mkldnn

    symbol, args, aux, data = detector()
    batches = mx.io.NDArrayIter({"data": data}, batch_size=len(data))
    options = {"calib_mode": "naive", "calib_data": batches, "quantized_dtype": "auto", "label_names": None}
    stock = quantize_model_mkldnn(symbol, args, aux, quantize_mode="full", **options)
    print(json.dumps(forward(*stock, data=data)[0][..., 0].tolist()))


def test_scores_and_coordinates_are_not_joined_in_int8() -> None:
    symbol, args, aux, data = detector()
    fp32 = forward(symbol, args, aux, data=data)[0]
    script = f"from {__name__} import show_what_the_stock_tool_finds as show; show()"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=120)
    assert np.all(np.array(json.loads(done.stdout.splitlines()[-1])) == -1)

    model = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, accuracy="fast", mode="full")
    found = found_again(fp32, forward(model.symbol, model.arg_params, model.aux_params, data=data)[0], surest=10)
    assert min(found[:2]) >= 0.8 * found.looked_for == 16, found


@pytest.mark.parametrize("excluded", ["", "Flatten", "Concat"])
@pytest.mark.parametrize("method", ["minmax", None])
def test_rows_of_predictions_are_joined_whichever_of_flatten_and_concat_stays_float32(
    method: Any, excluded: str
) -> None:
    first = relu(conv(F.var("data"), "first", 16))
    second = relu(conv(first, "second", 16))
    rows = [F.Flatten(conv(x, f"rows{i}", 6), name=f"Flatten{i}") for i, x in enumerate((first, second))]
    symbol = F.Concat(*rows, dim=1, name="Concat")
    args, aux = random_params(symbol, data=SHAPE)
    data, params = images(*SHAPE), {"arg_params": args, "aux_params": aux}
    options = {"method": method, "mode": "full", "accuracy": "fast"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mxquant.quantize(symbol, data, **params, **options, exclude_layers=[f"{excluded}*"] if excluded else [])
    int8 = forward(model.symbol, model.arg_params, model.aux_params, data=data)[0]
    assert sqnr(forward(symbol, args, aux, data=data)[0], int8) > 25
