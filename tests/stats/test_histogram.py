"""A histogram is a function of the values seen, not of how they arrived; every number in it is exact."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxquant.errors import InputError
from mxquant.stats import Histogram

FEW = settings(deadline=None, max_examples=60, derandomize=True)
LARGEST = np.finfo(np.float32).max
DENORMAL = np.float32(2.0**-149)


def magnitudes(width):
    """Floats of every kind: specials, and ordinary ones over a few decades so that bins are shared."""
    ordinary = st.floats(-8, 8, width=width) | st.sampled_from([0.0, -0.0, 0.5, -0.5, 1.0, 4.0, -4.0])
    return ordinary | st.floats(width=width, allow_nan=True, allow_infinity=True)


def arrays(dtype=np.float32, max_size=40):
    width = np.dtype(dtype).itemsize * 8
    return hnp.arrays(dtype, st.integers(0, max_size), elements=magnitudes(width))


any_array = (
    arrays(np.float32)
    | arrays(np.float64)
    | arrays(np.float16)
    | hnp.arrays(st.sampled_from([np.int8, np.uint8, np.int32, np.uint64, np.bool_]), st.integers(0, 20))
)


def floor_divide(value, exponent):
    return math.floor(Fraction(float(value)) / Fraction(2) ** exponent)


def bins_of(histogram):
    return {histogram.first_bin + int(i): int(histogram.counts[i]) for i in np.flatnonzero(histogram.counts)}


# What it holds


@FEW
@given(any_array)
def test_every_number_is_exact(array):
    found = Histogram.of(array)
    values = [float(value) for value in array.tolist() if math.isfinite(value)]
    assert found.count == len(values)
    assert found.nonfinite == array.size - len(values)
    assert found.zeros == values.count(0.0)
    assert (found.minimum, found.maximum) == ((min(values), max(values)) if values else (0.0, 0.0))
    if found.exponent is None:
        assert not any(values)
        assert found.counts.tolist() == ([len(values)] if values else [])
        return
    assert bins_of(found) == Counter(floor_divide(value, found.exponent) for value in values)
    assert found.counts[0] > 0 and found.counts[-1] > 0


@FEW
@given(arrays(np.float32))
def test_between_2_13_and_2_14_bins_a_side(array):
    found = Histogram.of(array)
    if found.exponent is not None:
        largest = Fraction(max(-found.minimum, found.maximum))
        assert 2**13 <= largest / Fraction(2) ** found.exponent < 2**14


@FEW
@given(st.lists(any_array, max_size=4))
def test_takes_at_most_256_kib(parts):
    assert sum(map(Histogram.of, parts), Histogram()).counts.nbytes <= 256 * 1024


def test_small_example():
    found = Histogram.of(np.array([[-1, 0, 0.25], [1, np.nan, 1.5]], np.float32))
    assert found.exponent == -13
    assert (found.first_bin, found.counts.size) == (-(2**13), 2**13 + 2**13 + 2**12 + 1)
    assert bins_of(found) == {-(2**13): 1, 0: 1, 2**11: 1, 2**13: 1, 3 * 2**12: 1}
    assert (found.minimum, found.maximum, found.count, found.zeros, found.nonfinite) == (-1.0, 1.5, 5, 1, 1)


# Order, batches and merging do not matter


@FEW
@given(st.data())
def test_any_split_order_and_merge_tree_gives_the_same(data):
    array = data.draw(arrays(np.float32))
    order = data.draw(st.permutations(range(array.size)))
    cuts = sorted(data.draw(st.lists(st.integers(0, array.size), max_size=6)))
    parts = [Histogram.of(part) for part in np.split(array[np.array(order, np.intp)], cuts)]
    while len(parts) > 1:
        first = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        second = parts.pop(data.draw(st.integers(0, len(parts) - 1)))
        parts.append(first + second)
    assert parts[0] == Histogram.of(array)


@FEW
@given(any_array, any_array, any_array)
def test_merging_is_associative_and_commutative_with_0_as_identity(a, b, c):
    x, y, z = map(Histogram.of, (a, b, c))
    assert x + y == y + x
    assert (x + y) + z == x + (y + z)
    assert x + 0 == 0 + x == x + Histogram() == Histogram() + x == x
    assert sum([x, y, z]) == x + y + z


def test_merging_with_anything_else_is_a_type_error():
    with pytest.raises(TypeError):
        Histogram() + 1


@FEW
@given(arrays(np.float32), arrays(np.float32))
def test_equality_sees_every_difference(a, b):
    x, y = Histogram.of(a), Histogram.of(b)
    assert x == Histogram.of(a)
    if a.size != b.size:
        assert x != y
    assert x != Histogram.of(np.append(a, np.float32(0)))
    assert x != Histogram.of(np.append(a, np.float32("nan")))
    assert x != "a histogram"


@pytest.mark.parametrize("factor", [1e6, 1e-6, 1e30, 1e-30])
def test_a_later_batch_of_another_magnitude(factor):
    rng = np.random.default_rng(1)
    batch = rng.standard_normal(1000).astype(np.float32)
    other = (rng.standard_normal(1000) * factor).astype(np.float32)
    merged = Histogram.of(batch) + Histogram.of(other)
    assert merged == Histogram.of(np.concatenate([batch, other]))
    assert merged.count == 2000
    assert merged.counts.size <= 2**15


def test_more_than_1e12_values():
    one = Histogram.of(np.array([-2, 0, 0, 1, 3], np.float32))
    many = one
    for _ in range(40):
        many = many + many
    assert many.count == 5 * 2**40 > 1e12
    assert many.zeros == 2 * 2**40
    assert bins_of(many) == {number: count << 40 for number, count in bins_of(one).items()}


def test_more_values_than_int64_holds_are_refused():
    many = Histogram.of(np.ones(1, np.float32))
    for _ in range(62):
        many = many + many
    assert many.count == 2**62
    with pytest.raises(InputError, match=r"more than 2\*\*63 - 1"):
        many + many


# Special values


def test_nothing_seen():
    assert Histogram.of(np.zeros((0, 3), np.float32)) == Histogram()
    assert (Histogram().exponent, Histogram().count, Histogram().minimum, Histogram().maximum) == (
        None,
        0,
        0.0,
        0.0,
    )


def test_all_zero_then_something():
    zeros = Histogram.of(np.zeros(7, np.float32))
    assert (zeros.exponent, zeros.counts.tolist(), zeros.zeros, zeros.count) == (None, [7], 7, 7)
    assert zeros + zeros == Histogram.of(np.zeros(14, np.float32))
    assert zeros + Histogram.of(np.float32([5])) == Histogram.of(np.float32([0] * 7 + [5]))


def test_nothing_finite():
    found = Histogram.of(np.array([np.nan, np.inf, -np.inf], np.float32))
    assert found == Histogram(nonfinite=3)
    assert found + Histogram.of(np.float32([1, np.nan])) == Histogram.of(np.float32([1] + [np.inf] * 4))


def test_the_sign_of_zero_does_not_show():
    both = np.array([-0.0, 0.0], np.float32)
    for array in (both, both[::-1], np.float32([-0.0, 1]), np.float32([-0.0, -1])):
        found = Histogram.of(array)
        assert all(math.copysign(1, value) > 0 for value in (found.minimum, found.maximum) if value == 0)
        assert found == Histogram.of(array + np.float32(0))


@pytest.mark.parametrize(
    "values",
    [
        [DENORMAL],
        [-DENORMAL, DENORMAL * 3],
        [LARGEST, -LARGEST],
        [-DENORMAL, LARGEST],
        [-DENORMAL, 16384],
        [-DENORMAL, 16383],
        [2.0**-114, -DENORMAL],
        [2.0**-115, -DENORMAL],
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tiny_negative_value_is_below_zero_beside_any_other(values, dtype):
    array = np.array(values, dtype)
    with np.errstate(all="raise"):
        found = Histogram.of(array)
        merged = Histogram.of(array[:1]) + Histogram.of(array[1:])
    assert bins_of(found) == Counter(floor_divide(value, found.exponent) for value in array)
    assert merged == found


def test_extremes_of_float64():
    largest = np.finfo(np.float64).max
    for array in (np.array([-5e-324, largest]), np.array([-largest, -0.0, 5e-324, largest])):
        with np.errstate(all="raise"):
            found = Histogram.of(array)
            hist, edges = found.centred()
        assert bins_of(found) == Counter(floor_divide(value, found.exponent) for value in array)
        assert np.isfinite(edges).all()
        assert np.array_equal(hist, np.histogram(array, bins=edges)[0])
    assert Histogram.of(np.array([5e-324])).exponent == -1074


# Arrays of all kinds


@pytest.mark.parametrize("scale", [1.0, 1e-3, 3e4, 1e-36])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_array_of_several_blocks(scale, dtype):
    rng = np.random.default_rng(2)
    array = (rng.standard_normal(3 * 65536 + 17) * scale).astype(dtype)
    array[70000:90000] = 0
    array[-1], array[100000] = -10 * scale, 9 * scale
    found = Histogram.of(array)
    bins = np.floor(array.astype(np.float64) * 2.0**-found.exponent).astype(np.int64)
    assert np.array_equal(found.counts, np.bincount(bins - bins.min()))
    assert found.first_bin == bins.min()
    assert (found.minimum, found.maximum, found.zeros) == (array.min(), array.max(), 20000)
    array[150000] = np.nan
    assert Histogram.of(array).nonfinite == 1
    assert Histogram.of(array).count == array.size - 1


def test_memory_layout_and_byte_order_do_not_matter():
    array = np.random.default_rng(3).standard_normal((5, 6, 7)).astype(np.float32)
    expected = Histogram.of(array)
    read_only = array.copy()
    read_only.setflags(write=False)
    for same in (
        array.T,
        np.asfortranarray(array),
        array.astype(">f4"),
        np.repeat(array, 2, axis=1)[:, ::2],
        read_only,
    ):
        assert Histogram.of(same) == expected
    assert Histogram.of(np.array(2.5, np.float32)).maximum == 2.5


def test_the_array_is_left_alone():
    array = np.random.default_rng(4).standard_normal(100).astype(np.float32)
    before = array.copy()
    Histogram.of(array)
    assert np.array_equal(array, before)


def test_integers_are_counted_as_the_floats_they_become():
    array = np.array([-(2**62) - 1, -3, 0, 7, 2**53 + 1], np.int64)
    assert Histogram.of(array) == Histogram.of(array.astype(np.float64))
    assert Histogram.of(np.array([True, False])) == Histogram.of(np.float32([1, 0]))


@pytest.mark.parametrize("dtype", [np.complex64, object, "U3", np.longdouble, "M8[s]"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InputError, match="dtype"):
        Histogram.of(np.zeros(3, dtype))


def test_other_types_are_refused():
    with pytest.raises(InputError, match="NumPy array, found list"):
        Histogram.of([1.0, 2.0])


# The zero-centred histogram of the entropy search


@FEW
@given(any_array)
def test_centred_groups_bins_in_pairs_about_zero(array):
    found = Histogram.of(array)
    hist, edges = found.centred()
    assert hist.dtype == np.int64 and edges.dtype == np.float64
    assert hist.size % 2 == 1 and edges.size == hist.size + 1
    assert hist.sum() == found.count
    assert np.array_equal(edges, -edges[::-1])
    assert edges[-1] >= max(-found.minimum, found.maximum)
    if found.exponent is None:
        return
    half = hist.size // 2
    values = [Fraction(float(value)) for value in array.tolist() if math.isfinite(value)]
    width = Fraction(2) ** (found.exponent + 1)
    expected = Counter(math.floor(value / width + Fraction(1, 2)) for value in values)
    assert {int(i) - half: int(hist[i]) for i in np.flatnonzero(hist)} == expected
    inner = edges[1:-1]
    assert [Fraction(float(edge)) for edge in inner[[0, -1]]] == [
        -width * (half - Fraction(1, 2)),
        width * (half - Fraction(1, 2)),
    ]
    if found.exponent > -1074:
        assert 8193 <= hist.size <= 16385


@pytest.mark.parametrize("values", [[1.0], [-1.0], [1.9999], [-1.9999], [LARGEST], [-DENORMAL]])
def test_centred_has_at_least_8193_bins(values):
    hist, edges = Histogram.of(np.array(values, np.float32)).centred()
    assert 8193 <= hist.size <= 16385
    assert edges[0] <= values[0] < edges[-1]


def test_centred_agrees_with_numpy():
    array = np.random.default_rng(5).standard_normal(10000).astype(np.float32)
    hist, edges = Histogram.of(array).centred()
    assert np.array_equal(hist, np.histogram(array.astype(np.float64), bins=edges)[0])


def test_centred_without_a_range():
    hist, edges = Histogram.of(np.zeros(4, np.float32)).centred()
    assert (hist.tolist(), edges.tolist()) == ([4], [-1.0, 1.0])
    assert Histogram().centred()[0].tolist() == [0]


# A value that cannot be changed, nor made to contradict itself


def test_it_is_immutable():
    source = Histogram.of(np.float32([1, 2]))
    counts = source.counts.copy()
    found = replace(source, counts=counts)
    counts[0] = 99
    assert found == source
    with pytest.raises(ValueError, match="read-only"):
        found.counts[0] = 5
    with pytest.raises(FrozenInstanceError):
        found.zeros = 3
    with pytest.raises(TypeError, match="unhashable"):
        hash(found)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"counts": np.zeros(3)}, "expected int64"),
        ({"counts": np.zeros((1, 1), np.int64)}, "one dimension"),
        ({"counts": np.zeros(0, np.int64)}, "no counts"),
        ({"minimum": math.nan}, "minimum is nan"),
        ({"maximum": math.inf}, "maximum inf"),
        ({"minimum": 2.0}, "minimum is 2.0 and maximum 1.0"),
        ({"exponent": None}, "exponent is None"),
        ({"exponent": -12}, "exponent is -12"),
        ({"maximum": 0.5}, "expected bins"),
        ({"first_bin": -8191}, "expected bins"),
        ({"zeros": 3}, "expected 0 to 2"),
        ({"zeros": -1}, "expected 0 to 2"),
        ({"nonfinite": -1}, "nonfinite is -1"),
    ],
)
def test_contradictions_are_refused(change, complaint):
    sound = Histogram.of(np.float32([-1, 0, 0, 1]))
    with pytest.raises(InputError, match=complaint):
        replace(sound, **change)


@pytest.mark.parametrize(
    ("index", "count", "complaint"), [(-1, 0, "is empty"), (5, -1, "negative"), (5, 2**63 - 1, "more than")]
)
def test_impossible_counts_are_refused(index, count, complaint):
    sound = Histogram.of(np.float32([-1, 0, 0, 1]))
    counts = sound.counts.copy()
    counts[index] = count
    with pytest.raises(InputError, match=complaint):
        replace(sound, counts=counts)


def test_zeros_are_all_there_is_without_an_exponent():
    with pytest.raises(InputError, match="zeros are 3, expected 4 to 4"):
        Histogram(counts=np.array([4]), zeros=3)
