"""What is said to treat all channels alike does so when MXNet runs it."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

import numpy as np
import pytest

from mxquant.graph import Node
from mxquant.lowering.alike_channels import axis_of, is_alike, keeps_zeros
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.networks import forward, images

F = mx.sym
SHAPE, LIKE = (2, 6, 4, 4), (2, 3, 3, 3)
RANK = len(SHAPE)
Build = Callable[[Any, Any], Any]

ALIKE: Dict[str, Build] = {
    "larger": lambda x, y: F.UpSampling(x, scale=2, sample_type="nearest"),
    "resized": lambda x, y: F.contrib.BilinearResize2D(x, height=5, width=7),
    "resized by a factor": lambda x, y: F.contrib.BilinearResize2D(
        x, scale_height=2.0, scale_width=1.5, mode="odd_scale"
    ),
    "resized like": lambda x, y: F.contrib.BilinearResize2D(x, y, mode="like"),
    "means of parts": lambda x, y: F.contrib.AdaptiveAvgPooling2D(x, output_size=2),
    "cut out": lambda x, y: F.Crop(x, num_args=1, h_w=(2, 2), offset=(1, 1)),
    "cut out like": lambda x, y: F.Crop(x, y, num_args=2, center_crop=True),
    "columns": lambda x, y: F.slice_axis(x, axis=-1, begin=1, end=3),
    "rows": lambda x, y: F.slice_axis(x, axis=2, begin=1, end=None),
    "rows and columns": lambda x, y: F.slice(x, begin=(None, None, 1, 0), end=(None, None, 3, -1)),
    "rows from the first image on": lambda x, y: F.slice(x, begin=(0, 0, 1), end=(None, None, 3)),
    "cut like": lambda x, y: F.slice_like(x, y, axes=(2, 3)),
    "cut like, axes counted from the end": lambda x, y: F.slice_like(x, y, axes=(-1, -2)),
    "padded": lambda x, y: F.Pad(x, mode="constant", pad_width=(0, 0, 0, 0, 1, 1, 2, 0)),
    "padded with what is there": lambda x, y: F.Pad(x, mode="edge", pad_width=(0, 0, 0, 0, 1, 1, 2, 0)),
    "repeated": lambda x, y: F.repeat(x, repeats=2, axis=-2),
    "pooled": lambda x, y: F.Pooling(x, kernel=(2, 2), pool_type="max"),
    "squares": lambda x, y: F.square(x),
}
# f(0) is not 0, for some values of the image at least.
ONES: Dict[str, Build] = {
    "padded with ones": lambda x, y: F.Pad(x, mode="constant", constant_value=1, pad_width=(0,) * 4 + (1,) * 4),
    "exp": lambda x, y: F.exp(x),
    "one more": lambda x, y: x + 1,
}
OTHER: Dict[str, Build] = {
    "some channels": lambda x, y: F.slice_axis(x, axis=1, begin=0, end=4),
    "some channels, counted from the end": lambda x, y: F.slice_axis(x, axis=-3, begin=0, end=4),
    "channels from the second on": lambda x, y: F.slice(x, begin=(None, 1), end=(None, None)),
    "channels backwards": lambda x, y: F.slice(x, begin=(None, None), end=(None, None), step=(1, -1)),
    "as many channels as": lambda x, y: F.slice_like(x, y, axes=(1, 2)),
    "cut like on all axes": lambda x, y: F.slice_like(x, y),
    "channels repeated": lambda x, y: F.repeat(x, repeats=2, axis=1),
    "a filter for each channel": lambda x, y: F.UpSampling(
        x, F.var("w"), scale=2, sample_type="bilinear", num_filter=6, num_args=2
    ),
    "two images": lambda x, y: F.UpSampling(x, x, scale=2, sample_type="nearest", num_args=2),
    "channels last": lambda x, y: F.Pooling(x, kernel=(2, 2), pool_type="max", layout="NHWC"),
}


def last_of(build: Build) -> Node:
    return graph_of(build(F.var("x"), F.var("y"))).operators[-1]


def run(build: Build, x: np.ndarray) -> np.ndarray:
    symbol = build(F.var("x"), F.var("y"))
    inputs = {"x": x, "y": images(*LIKE, seed=2)}
    return forward(symbol, {}, {}, **{name: inputs[name] for name in symbol.list_arguments()})[0]


@pytest.mark.parametrize("name", [*ALIKE, *ONES])
def test_channels_in_another_order_give_those_in_that_order(name: str) -> None:
    build, x, order = {**ALIKE, **ONES}[name], images(*SHAPE), np.random.RandomState(0).permutation(SHAPE[1])
    assert is_alike(last_of(build), RANK)
    np.testing.assert_array_equal(run(build, x[:, order]), run(build, x)[:, order])


@pytest.mark.parametrize("name", [*ALIKE, *ONES])
def test_a_channel_more_leaves_the_others_alone_and_is_0_where_that_is_said(name: str) -> None:
    build, x = {**ALIKE, **ONES}[name], images(*SHAPE)
    found = run(build, np.concatenate([x, np.zeros_like(x[:, :1])], axis=1))
    np.testing.assert_array_equal(found[:, :-1], run(build, x))
    if name in ALIKE and name != "squares":
        assert keeps_zeros(last_of(build)) and not found[:, -1].any()
    if name in ONES:
        assert not keeps_zeros(last_of(build)) and found[:, -1].any()


@pytest.mark.parametrize("name", OTHER)
def test_what_looks_at_channels_is_not_alike(name: str) -> None:
    assert not is_alike(last_of(OTHER[name]), RANK)


@pytest.mark.parametrize(
    ("axis", "rank", "expected"), [("-1", 4, 3), ("-1", None, None), ("2", None, 2), ("None", 4, 1)]
)
def test_an_axis_from_the_end_is_known_where_the_number_of_axes_is(
    axis: str, rank: Optional[int], expected: Optional[int]
) -> None:
    assert axis_of(Node("Concat", "c", {"dim": axis}), "dim", 1, rank) == expected


def test_a_repeat_of_all_values_is_not_alike() -> None:
    assert not is_alike(last_of(lambda x, y: F.repeat(x, repeats=2)), RANK)
    assert not is_alike(last_of(ALIKE["repeated"]), None)
