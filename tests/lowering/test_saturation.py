"""Which int8 sums saturate in oneDNN's kernels, and the bound below which none does.

Every level of instructions runs in a process of its own, and is compared with sums in whole numbers.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, Dict, NamedTuple, Tuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mxquant.lowering import isa
from mxquant.lowering.quantized_params import quantize_int8
from mxquant.lowering.saturation import (
    halved_weight_codes,
    largest_safe_code,
    most_codes,
    neighbours,
    pair_sums,
    weight_codes,
    weights_safe_at,
)
from tests.levels import CAPS, available
from tests.lowering.int8_kernels import Kernels, exact, saturating, values_of


class Layer(NamedTuple):
    data: Tuple[int, ...]
    weight: Tuple[int, ...]
    attrs: Dict[str, Any] = {}  # noqa: RUF012

    @property
    def groups(self) -> int:
        return self.attrs.get("num_group", 1)


PAD = (1, 1)
PAIRED = {
    "3x3": Layer((1, 16, 5, 5), (8, 16, 3, 3), {"pad": PAD}),
    "1x1": Layer((2, 16, 4, 4), (24, 16, 1, 1)),
    "of an image": Layer((1, 3, 6, 6), (16, 3, 3, 3), {"pad": PAD}),
    "of 5 channels": Layer((1, 5, 6, 6), (7, 5, 2, 3)),
    "two groups": Layer((1, 32, 5, 5), (16, 16, 3, 3), {"pad": PAD, "num_group": 2}),
    "3D": Layer((1, 6, 3, 3, 3), (8, 6, 2, 2, 2)),
    "dense, one row": Layer((1, 64), (16, 64)),
    "dense, eight rows": Layer((8, 63), (16, 63)),
}
# Groups without a kernel of their own: products of matrices on AVX-512, and exact on AVX2.
ODD = {
    "two groups of 3 channels": Layer((1, 6, 5, 5), (16, 3, 3, 3), {"pad": PAD, "num_group": 2}),
    "two groups of 6 channels": Layer((1, 12, 5, 5), (12, 6, 3, 3), {"pad": PAD, "num_group": 2}),
    "depthwise, twice the channels": Layer((1, 8, 5, 5), (16, 1, 3, 3), {"num_group": 8}),
    "depthwise 3D": Layer((1, 16, 3, 3, 3), (16, 1, 2, 2, 2), {"num_group": 16}),
}
DEPTHWISE = {
    "depthwise": Layer((1, 16, 5, 5), (16, 1, 3, 3), {"pad": PAD, "num_group": 16}),
    "depthwise of 15": Layer((1, 15, 5, 5), (15, 1, 3, 3), {"num_group": 15}),
}
LAYERS = {**PAIRED, **ODD, **DEPTHWISE}
CONVOLUTIONS = {name: layer for name, layer in LAYERS.items() if len(layer.weight) > 2}
FULLY_CONNECTED = {name: layer for name, layer in LAYERS.items() if len(layer.weight) == 2}


@pytest.fixture(scope="module", params=list(CAPS))
def kernels(request):
    if request.param not in available():
        pytest.skip(f"this CPU has no {CAPS[request.param]}")
    with Kernels(request.param) as process:
        process.isa = request.param
        yield process


def layers(*tables):
    chosen = {name: layer for table in tables for name, layer in table.items()}
    return pytest.mark.parametrize("layer", chosen.values(), ids=chosen.keys())


def weights(layer, kind):
    """Return codes with a 127 or a -128 in each channel."""
    if kind == "largest":
        return np.full(layer.weight, 127)
    if kind == "smallest":
        return np.full(layer.weight, -128)
    if kind == "alternating":
        return np.where(np.indices(layer.weight).sum(axis=0) % 2, -128, 127)
    rng = np.random.RandomState(0)
    codes = rng.randint(-90, 91, layer.weight)
    # Far from all channels have the worst pair of the layer.
    codes.reshape(len(codes), -1)[:, 0] = 127
    codes.reshape(len(codes), -1)[:, -1] = rng.randint(-128, 128, len(codes))
    return codes


def data_up_to(layer, code, low=0):
    """Return batches of extremes and of random data: all in one, or each alone for a FullyConnected."""
    shape, rng = layer.data, np.random.RandomState(1)
    checkered = np.where(np.indices(shape).sum(axis=0) % 2, low, code)
    batches = [np.full(shape, code), checkered, rng.choice([low, code], shape), rng.randint(low, code + 1, shape)]
    return batches if len(layer.weight) == 2 else [np.concatenate(batches)]


WEIGHTS = ("largest", "smallest", "alternating", "random")


@layers(LAYERS)
def test_up_to_the_largest_safe_code_uint8_sums_are_exact(kernels, layer):
    for codes in (weights(layer, kind) for kind in WEIGHTS):
        safe = largest_safe_code(codes, layer.groups) if isa.saturates(kernels.isa) else 255
        for data in data_up_to(layer, safe):
            sums = kernels.run(data, values_of(codes), "uint8", **layer.attrs)
            np.testing.assert_array_equal(sums, exact(data, codes, **layer.attrs))


@layers(PAIRED, ODD)
def test_one_code_more_saturates(kernels, layer):
    if not isa.saturates(kernels.isa) or (kernels.isa == "avx2" and layer in ODD.values()):
        pytest.skip("exact at this level")
    for codes in (weights(layer, kind) for kind in ("largest", "smallest", "random")):
        safe = largest_safe_code(codes, layer.groups)
        assert 128 <= safe < 255
        data = np.full(layer.data, safe + 1)
        sums = kernels.run(data, values_of(codes), "uint8", **layer.attrs)
        assert (sums != exact(data, codes, **layer.attrs)).any()


@layers(LAYERS)
def test_beyond_it_each_pair_of_neighbours_saturates_by_itself(kernels, layer):
    if not isa.saturates(kernels.isa) or (kernels.isa == "avx2" and layer in ODD.values()):
        pytest.skip("exact at this level")
    for codes in (weights(layer, kind) for kind in WEIGHTS):
        for data in data_up_to(layer, 255):
            sums = kernels.run(data, values_of(codes), "uint8", **layer.attrs)
            np.testing.assert_array_equal(sums, saturating(data, codes, **layer.attrs))


@layers(ODD)
def test_groups_without_a_kernel_of_their_own_are_exact_on_avx2(kernels, layer):
    if kernels.isa != "avx2":
        pytest.skip("about avx2")
    for codes in (weights(layer, kind) for kind in WEIGHTS):
        for data in data_up_to(layer, 255):
            sums = kernels.run(data, values_of(codes), "uint8", **layer.attrs)
            np.testing.assert_array_equal(sums, exact(data, codes, **layer.attrs))


@pytest.mark.parametrize(
    ("shape", "groups"),
    [((5, 3, 3), 1), ((8, 2, 2), 1), ((16, 1, 1), 1), ((7,), 1), ((16,), 1), ((4, 2, 3), 2), ((3, 2, 3), 2)],
)
def test_only_neighbours_saturate_together(kernels, shape, groups):
    if not isa.saturates(kernels.isa) or (kernels.isa == "avx2" and shape[0] % 4 and groups > 1):
        pytest.skip("exact at this level")
    pairs = list(combinations(range(int(np.prod(shape))), 2))
    pairs += pairs[: -len(pairs) % 4]
    # Each output channel has two weights; without saturation all sums are the same.
    codes = np.zeros((groups, len(pairs), int(np.prod(shape))), int)
    for channel, pair in enumerate(pairs):
        codes[:, channel, pair] = 127
    codes = codes.reshape(-1, *shape)
    data = np.full((1, groups * shape[0], *shape[1:]), 255)
    sums = kernels.run(data, values_of(codes), "uint8", **({"num_group": groups} if groups > 1 else {}))
    smaller = {pair for pair, value in zip(pairs, sums.reshape(groups, -1)[-1]) if value < 2 * 255 * 127}
    partners = enumerate(neighbours(codes.shape, groups))
    assert smaller == {(one, other) for one, other in partners if one < other}


@layers(CONVOLUTIONS)
def test_int8_data_of_a_convolution_never_saturate_because_the_weights_are_halved(kernels, layer):
    is_halved = kernels.isa == "avx512" or (kernels.isa == "avx2" and layer not in ODD.values())
    for codes in (weights(layer, kind) for kind in WEIGHTS):
        stored = 2 * halved_weight_codes(values_of(codes)).astype(int) if is_halved else codes
        for data in data_up_to(layer, 127, low=-127):
            sums = kernels.run(data, values_of(codes), "int8", **layer.attrs)
            np.testing.assert_array_equal(sums, exact(data, stored, **layer.attrs))


@layers(FULLY_CONNECTED)
def test_int8_data_of_a_fully_connected_layer_saturate_like_uint8_data_128_codes_higher(kernels, layer):
    for codes in (weights(layer, kind) for kind in WEIGHTS):
        for data in data_up_to(layer, 127, low=-127):
            sums = kernels.run(data, values_of(codes), "int8")
            expected = exact(data, codes)
            if isa.saturates(kernels.isa):
                expected = saturating(data + 128, codes) - exact(np.full_like(data, 128), codes)
            np.testing.assert_array_equal(sums, expected)


@layers(FULLY_CONNECTED)
def test_int8_data_of_a_fully_connected_layer_are_exact_with_weights_safe_at_255(kernels, layer):
    codes = weights(layer, "random") // 2
    # MXNet needs a 127 for its scale; its neighbour is 1.
    codes[:, :2] = 127, 1
    assert weights_safe_at(codes, 255)
    for data in data_up_to(layer, 127, low=-127):
        np.testing.assert_array_equal(kernels.run(data, values_of(codes), "int8"), exact(data, codes))


def near_halves(largest, channels=32, columns=64):
    """Return weights next to the values between two codes, or between two halved codes; one scale for all channels."""
    rng = np.random.RandomState(2)
    halves = np.where(rng.rand(channels, columns) < 0.5, 0.5, 1) * rng.randint(-252, 253, (channels, columns))
    values = (np.clip(halves, -127, 127) / 127.5 * largest).astype(np.float32)
    values = np.nextafter(values, np.float32(9) * rng.choice([-1, 0, 1], values.shape).astype(np.float32))
    values[:, 0] = largest
    return values


# 127.5 divided by it: any number, one that is rounded, and 1.
LARGEST = (np.float32(0.37), np.float32(3) / 7, np.float32(127.5), np.float32(0.0123))


def stored(kernels, values, dtype):
    """Return the weights of a 1x1 convolution as its outputs for one-hot data show them."""
    pixels = np.eye(values.shape[1], dtype=int)[None, :, None, :]
    return kernels.run(pixels, values[:, :, None, None], dtype)[0]


@pytest.mark.parametrize("largest", LARGEST)
def test_weight_codes_are_those_that_the_operators_use(kernels, largest):
    values = near_halves(largest)
    np.testing.assert_array_equal(stored(kernels, values, "uint8"), weight_codes(values))


@pytest.mark.parametrize("largest", LARGEST)
def test_halved_weight_codes_are_those_that_convolutions_use_for_int8_data(kernels, largest):
    if not isa.saturates(kernels.isa):
        pytest.skip("nothing is halved at this level")
    values = near_halves(largest)
    halved = halved_weight_codes(values)
    np.testing.assert_array_equal(stored(kernels, values, "int8"), 2 * halved.astype(int))
    assert np.abs(halved).max() == 64


def test_a_channel_of_zeros_has_codes_of_zero():
    values = np.zeros((2, 3), np.float32)
    values[1, 0] = 1
    np.testing.assert_array_equal(weight_codes(values), [[0, 0, 0], [127, 0, 0]])
    np.testing.assert_array_equal(halved_weight_codes(values), [[0, 0, 0], [64, 0, 0]])


codes_of_any_layer = hnp.arrays(
    np.int8, hnp.array_shapes(min_dims=2, max_dims=4, max_side=5), elements=st.integers(-128, 127)
)


@given(codes_of_any_layer, st.integers(1, 3))
def test_no_pair_leaves_int16_up_to_the_largest_safe_code_and_one_does_beyond(codes, groups):
    rows = codes.reshape(len(codes), -1).astype(int)
    partner = neighbours(codes.shape, groups)
    sums = [
        max(w, 0) + max(other, 0)
        for row in [*rows, *-rows]
        for w, other in zip(row, np.where(partner >= 0, row[partner], 0))
    ]
    half = len(sums) // 2
    positive, negative = max(sums[:half]), -max(sums[half:])
    assert pair_sums(codes, groups) == (positive, negative)
    safe = largest_safe_code(codes, groups)
    assert safe * positive <= 32767 and safe * negative >= -32768
    assert safe == 255 or (safe + 1) * positive > 32767 or (safe + 1) * negative < -32768
    assert weights_safe_at(codes, safe, groups) and not weights_safe_at(codes, safe + 1, groups)


@given(hnp.array_shapes(min_dims=2, max_dims=5, max_side=5), st.integers(1, 3))
def test_neighbours_are_mutual(shape, groups):
    partner = neighbours(shape, groups)
    paired = np.flatnonzero(partner >= 0)
    assert partner.shape == (np.prod(shape[1:]),)
    np.testing.assert_array_equal(partner[partner[paired]], paired)
    assert (partner[paired] != paired).all()


def test_a_channel_of_denormal_weights_is_a_channel_of_zeros() -> None:
    weight = np.float32([[1e-39, 0, -1e-40], [1, -0.5, 0]])
    np.testing.assert_array_equal(weight_codes(weight), [[0, 0, 0], [127, -64, 0]])


@pytest.mark.parametrize("shape", [(1, 1), (3, 2), (4, 7), (16, 64)])
@pytest.mark.parametrize("kind", ["normal", "uniform", "one large", "positive", "zeros"])
def test_codes_that_may_be_safe_are_all_that_are_worth_a_look(shape, kind):
    rng = np.random.RandomState(3)
    values = {
        "normal": rng.randn(*shape),
        "uniform": rng.uniform(-1, 1, shape),
        "one large": rng.uniform(-0.01, 0.01, shape) + 5 * (np.arange(shape[1]) == 0),
        "positive": rng.rand(*shape),
        "zeros": np.zeros(shape),
    }[kind].astype(np.float32)
    safe = [codes for codes in range(1, 128) if weights_safe_at(quantize_int8(values, codes)[0], 255)]
    assert safe[-1] <= most_codes(values) <= min(127, safe[-1] + 3)
