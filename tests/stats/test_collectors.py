"""Collectors gather by tensor name, merge by +, and never let a NaN pass in silence."""

from __future__ import annotations

import numpy as np
import pytest

from mxquant.errors import CalibrationError, InputError, NonFiniteError
from mxquant.stats import Collector, Histogram, HistogramCollector

RNG = np.random.default_rng(0)
A, B, C = (RNG.standard_normal((4, 5)).astype(np.float32) * scale for scale in (1, 100, 0.01))


def collected(*observed, nonfinite="raise"):
    collector = HistogramCollector(nonfinite)
    for name, array in observed:
        collector.observe(name, array)
    return collector


def test_a_histogram_for_each_tensor():
    found = collected(("conv0", A), ("relu0", B), ("conv0", C)).histograms
    assert list(found) == ["conv0", "relu0"]
    assert found["conv0"] == Histogram.of(np.concatenate([A, C]))
    assert found["relu0"] == Histogram.of(B)


def test_the_array_may_be_reused_after_observing():
    array = A.copy()
    collector = collected(("x", array))
    array[:] = 0
    assert collector.histograms["x"] == Histogram.of(A)


def test_merging_equals_observing_everything():
    one, other = collected(("x", A), ("y", B)), collected(("x", C), ("z", A))
    everything = collected(("x", A), ("y", B), ("x", C), ("z", A)).histograms
    assert (one + other).histograms == everything
    assert (other + one).histograms == everything
    assert sum([one, other]).histograms == everything


def test_merging_changes_neither():
    one, other = collected(("x", A)), collected(("x", B))
    merged = one + other
    merged.observe("x", C)
    assert one.histograms == {"x": Histogram.of(A)}
    assert other.histograms == {"x": Histogram.of(B)}


def test_zero_and_an_empty_collector_are_identities():
    one = collected(("x", A))
    for same in (one + 0, 0 + one, one + HistogramCollector(), HistogramCollector() + one):
        assert same.histograms == one.histograms


def test_collectors_that_treat_nan_differently_do_not_merge():
    with pytest.raises(InputError, match="nonfinite='raise', the other 'ignore'"):
        collected(("x", A)) + collected(("x", A), nonfinite="ignore")


def test_merging_with_anything_else_is_a_type_error():
    with pytest.raises(TypeError):
        HistogramCollector() + 1


def test_nonfinite_values_raise_and_nothing_of_the_array_is_kept():
    collector = collected(("fc1", A))
    bad = np.float32([1, np.nan, np.inf, -np.inf, 1e9])
    with pytest.raises(NonFiniteError, match="tensor 'fc1': 3 of 5 values are NaN or infinite") as caught:
        collector.observe("fc1", bad)
    assert (caught.value.tensor, caught.value.count, caught.value.size) == ("fc1", 3, 5)
    assert isinstance(caught.value, CalibrationError)
    assert collector.histograms == {"fc1": Histogram.of(A)}


def test_nonfinite_values_are_counted_and_left_out_on_request():
    found = collected(("x", np.float32([1, np.nan, 3])), ("x", np.float32([np.inf])), nonfinite="ignore")
    assert (found.histograms["x"].nonfinite, found.histograms["x"].count) == (2, 2)
    assert found.histograms["x"].maximum == 3


def test_an_unknown_treatment_is_refused():
    with pytest.raises(InputError, match="nonfinite is 'skip', expected one of 'raise', 'ignore'"):
        HistogramCollector("skip")


def test_what_is_no_array_of_numbers_is_refused_by_the_name_of_the_tensor():
    with pytest.raises(InputError, match="tensor 'data': expected a NumPy array, found list"):
        HistogramCollector().observe("data", [1.0])


def test_a_collector_of_another_kind_has_to_observe_and_merge():
    class Forgetful(Collector):
        def observe(self, name, array):
            pass

    with pytest.raises(TypeError, match="abstract"):
        Forgetful()


def test_means_of_channels_where_they_are_wanted():
    images = RNG.standard_normal((4, 3, 5, 5)).astype(np.float32)
    collector = HistogramCollector(channels={"x": 1, "y": -1, "z": 1})
    for part in (images[:3], images[3:]):
        collector.observe("x", part)
        collector.observe("y", part)
        collector.observe("w", part)
    assert sorted(collector.channel_sums) == ["x", "y"]
    np.testing.assert_allclose(collector.channel_sums["x"].mean, images.mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(collector.channel_sums["y"].mean, images.mean(axis=(0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize("odd", [A[:, :3], A * np.float32(np.nan), A * np.float32(1e30), A[0]])
def test_a_tensor_that_once_had_no_means_has_none_for_good(odd):
    arrays = [A, odd, B]
    for order in ([0, 1, 2], [1, 0, 2], [0, 2, 1]):
        collector = HistogramCollector("ignore", {"x": 1})
        for index in order:
            collector.observe("x", arrays[index])
        assert collector.channel_sums == {}
        parts = [HistogramCollector("ignore", {"x": 1}) for _ in arrays]
        for part, index in zip(parts, order):
            part.observe("x", arrays[index])
        assert sum(parts).channel_sums == {}


def test_means_merge_as_observing_everything():
    one, other = HistogramCollector(channels={"x": 1}), HistogramCollector(channels={"x": 1})
    both = HistogramCollector(channels={"x": 1})
    one.observe("x", A)
    other.observe("x", B)
    for array in (B, A):
        both.observe("x", array)
    assert (one + other).channel_sums == both.channel_sums == (other + one).channel_sums


def test_a_large_array_is_counted_as_a_small_one_is():
    large = RNG.standard_normal((5, 3, 120, 120)).astype(np.float32)
    collector = HistogramCollector(channels={"x": 1})
    collector.observe("x", large)
    assert collector.histograms["x"] == Histogram.of(large)
    one_by_one = HistogramCollector(channels={"x": 1})
    for example in large:
        one_by_one.observe("x", example[None])
    assert collector.histograms == one_by_one.histograms
    assert collector.channel_sums == one_by_one.channel_sums
    large[4, 2, 7, 7] = np.nan
    with pytest.raises(NonFiniteError, match="1 of 216000"):
        collector.observe("x", large)
    assert collector.histograms == one_by_one.histograms
