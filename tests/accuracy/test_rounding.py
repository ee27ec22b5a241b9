"""Adaptive rounding lowers a layer's error, by codes that keep every limit."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, Tuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxquant.accuracy.moments import Moments, PartedMoments
from mxquant.accuracy.rounding import Rounding
from tests.lowering.pairs_of_codes import in_pairs, one_of_a_pair, pair_sums

RIDGE = 1e-6


def layer(
    seed: int, groups: int, outputs: int, columns: int, *, count: int = 200, shared: float = 2.0, codes: int = 127
) -> Tuple[Rounding, np.ndarray, np.ndarray]:
    """Return a layer of which the inputs have a part in common, its rounded data, and the results it should have."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((groups, count, columns)) + shared * rng.standard_normal((groups, count, 1))
    weights = rng.standard_normal((groups, outputs, columns)).astype(np.float32)
    steps = np.abs(weights).max(axis=-1).astype(np.float64) / codes
    rounding = Rounding(weights, steps, np.zeros(weights.shape, bool), -codes - 1, codes)
    results = x @ weights.transpose(0, 2, 1)
    return rounding, (np.round(x * 20) / 20).astype(np.float32), results.astype(np.float32)


def errors(rounding: Rounding, codes: np.ndarray, rows: np.ndarray, results: np.ndarray) -> np.ndarray:
    """Return the variance that codes leave, for each channel, from the data themselves."""
    off = results - rows.astype(float) @ rounding.values(codes).transpose(0, 2, 1)
    return off.var(axis=1)


def objective(rounding: Rounding, codes: np.ndarray, moments: Moments, ridge: float) -> np.ndarray:
    """Return for each channel what the descent minimizes."""
    values, gram = rounding.values(codes), moments.gram.astype(float)
    pull = ridge * np.einsum("gkk->gk", gram).mean(axis=1)[:, None, None]
    gram = gram + pull * np.eye(gram.shape[-1])
    return ((values @ gram - 2 * (moments.cross + pull * rounding.weights)) * values).sum(axis=-1)


def solved(rounding: Rounding, rows: np.ndarray, results: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """Return codes for places that are taken in part by part."""
    moments = PartedMoments(int(examples[-1]) + 1)
    for part in np.array_split(np.arange(len(examples)), 3):
        moments.add(rows[:, part], results[:, part], examples[part])
    return rounding.solve(moments)


def test_moments_are_covariances() -> None:
    _, rows, results = layer(0, 2, 3, 5)
    moments = Moments.of(rows + np.float32(7), results - np.float32(3))
    for g in range(2):
        both = np.cov(np.concatenate([rows[g], results[g]], axis=1), rowvar=False, bias=True)
        np.testing.assert_allclose(moments.gram[g], both[:5, :5], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(moments.cross[g], both[5:, :5], rtol=1e-3, atol=1e-4)


def test_moments_of_parts_add_up_to_those_of_the_whole() -> None:
    _, rows, results = layer(0, 2, 3, 5)
    rows[:, :40] += 7
    results[:, :40] -= 3
    whole = Moments.of(rows, results)
    found = Moments.of(rows[:, :40], results[:, :40]) + Moments.of(rows[:, 40:], results[:, 40:])
    assert found.places == whole.places == rows.shape[1]
    for a, b in zip((*found[:2], *found.means), (*whole[:2], *whole.means)):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(whole.some(slice(1, None)).cross, whole.cross[:, 1:])


def test_the_errors_of_moments_are_the_variances_that_weights_leave_up_to_a_constant() -> None:
    rounding, rows, results = layer(0, 2, 3, 5)
    moments, nearest = Moments.of(rows, results), rounding.nearest()
    tried = [nearest, nearest + 1, nearest * 0]
    found = moments.errors([rounding.values(codes) for codes in tried])
    for codes, error in zip(tried, found):
        left = errors(rounding, codes, rows, results).sum() - results.var(axis=1).sum()
        assert error == pytest.approx(left, rel=1e-3, abs=1e-3)
    assert len(set(found)) == len(tried)


def test_the_nearest_codes_are_those_of_rint_within_the_ends() -> None:
    rounding, _, _ = layer(0, 2, 3, 50)
    near = rounding.weights / rounding.steps[..., None]
    np.testing.assert_array_equal(rounding.nearest(), np.rint(near))
    np.testing.assert_array_equal(replace(rounding, low=-20, high=10).nearest(), np.clip(np.rint(near), -20, 10))


@pytest.mark.parametrize("pair_limit", [None, 3])
def test_few_weights_get_the_best_codes_of_all(pair_limit: Any) -> None:
    hits = []
    for seed in range(60):
        columns = 1 + seed % 5
        rounding, rows, results = layer(seed, 1, 2, columns, codes=2)
        rounding = replace(rounding, partner=in_pairs(columns), pair_limit=pair_limit)
        moments = Moments.of(rows, results)
        codes = rounding.descend(moments, RIDGE)
        near = rounding.weights / rounding.steps[..., None]
        for channel in range(2):
            every = np.array(list(itertools.product(range(-3, 3), repeat=columns)))
            every = every[(np.abs(every - near[0, channel]) <= 1 + 1e-6).all(axis=1)]
            if pair_limit is not None:
                every = every[pair_sums(every, in_pairs(columns)).max(axis=1) <= pair_limit]
            copies = [channel] * len(every)
            one = replace(
                rounding,
                weights=rounding.weights[:, copies],
                fixed=rounding.fixed[:, copies],
                steps=rounding.steps[:, [channel]],
            )
            least = objective(one, every[None], moments.some(slice(channel, channel + 1)), RIDGE).min()
            found = objective(rounding, codes, moments, RIDGE)[0, channel]
            assert found >= least - 1e-4 * abs(least)
            hits.append(found <= least + 1e-4 * abs(least))
    assert np.mean(hits) >= 0.8


def test_no_change_of_one_code_would_help() -> None:
    rounding, rows, results = layer(1, 1, 4, 6, codes=20)
    moments = Moments.of(rows, results)
    codes = rounding.descend(moments, 0.01)
    found = objective(rounding, codes, moments, 0.01)
    near = rounding.weights / rounding.steps[..., None]
    tried = 0
    for k, change in itertools.product(range(6), (-1, 1)):
        other = codes.copy()
        other[..., k] += change
        allowed = (np.abs(other - near)[..., k] <= 1) & (other[..., k] <= 20)
        assert (objective(rounding, other, moments, 0.01) >= found - 1e-4 * np.abs(found))[allowed].all()
        tried += allowed.sum()
    assert tried > 20


@st.composite
def layers(draw: Any) -> Tuple[Rounding, np.ndarray, np.ndarray, float]:
    """Return a small layer, singular ones and empty channels among them."""
    groups, outputs, columns = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 9))
    seed = draw(st.integers(0, 9999))
    rounding, rows, results = layer(seed, groups, outputs, columns, count=draw(st.sampled_from([1, 2, 5, 40])))
    rng = np.random.default_rng(seed)
    weights, steps = rounding.weights.copy(), rounding.steps.copy()
    empty = rng.random(steps.shape) < 0.1
    weights[empty], steps[empty] = 0, 0
    low, high = draw(st.sampled_from([(-128, 127), (-64, 64), (-100, 100)]))
    rows[..., rng.random(columns) < 0.1] = 0
    fixed = one_of_a_pair(rng, weights.shape)
    limit = draw(st.sampled_from([None, 128, 130, 150]))
    return (
        Rounding(weights, steps, fixed, low, high, in_pairs(columns), limit),
        rows,
        results,
        draw(st.sampled_from([RIDGE, 0.01, 1.0])),
    )


@given(layers())
def test_the_error_is_never_above_that_of_the_nearest_codes(case: Any) -> None:
    rounding, rows, results, ridge = case
    moments = Moments.of(rows, results)
    found, start = (
        objective(rounding, c, moments, ridge) for c in (rounding.descend(moments, ridge), rounding.nearest())
    )
    scale = 1e-5 * (np.abs(start) + np.abs(moments.cross).max(axis=-1) * np.abs(rounding.weights).max(axis=-1))
    assert (found <= start + scale + 1e-9).all()


@given(layers())
def test_codes_keep_every_limit(case: Any) -> None:
    rounding, rows, results, ridge = case
    start, codes = rounding.nearest(), rounding.descend(Moments.of(rows, results), ridge)
    near = rounding.weights / np.where(rounding.steps > 0, rounding.steps, 1)[..., None]
    assert codes.shape == near.shape and codes.dtype == np.int64
    assert codes.min() >= rounding.low and codes.max() <= rounding.high
    assert not codes[rounding.steps == 0].any()
    assert (codes == start)[rounding.fixed].all()
    # Where a limit has brought a code further away, it stays or comes back.
    assert (np.abs(codes - near) <= np.maximum(1, np.abs(start - near)) + 1e-6).all()
    if rounding.pair_limit is not None:
        assert pair_sums(codes, rounding.partner).max() <= rounding.pair_limit
        assert pair_sums(start, rounding.partner).max() <= rounding.pair_limit


@given(layers())
def test_solving_keeps_every_limit(case: Any) -> None:
    rounding, rows, results, _ = case
    examples = np.arange(rows.shape[1]) // 2
    codes = solved(rounding, rows, results, examples)
    assert codes.min() >= rounding.low and codes.max() <= rounding.high
    assert (codes == rounding.nearest())[rounding.fixed].all()
    assert rounding.pair_limit is None or pair_sums(codes, rounding.partner).max() <= rounding.pair_limit


def test_data_of_zeros_leave_the_nearest_codes() -> None:
    rounding, rows, results = layer(0, 2, 3, 7)
    codes = rounding.descend(Moments.of(0 * rows, 0 * results), 1.0)
    np.testing.assert_array_equal(codes, rounding.nearest())
    np.testing.assert_array_equal(solved(rounding, 0 * rows, 0 * results, np.arange(200)), rounding.nearest())


def test_a_strong_ridge_leaves_the_nearest_codes() -> None:
    rounding, rows, results = layer(0, 1, 3, 20)
    moments = Moments.of(rows, results)
    np.testing.assert_array_equal(rounding.descend(moments, 1e6), rounding.nearest())
    assert (rounding.descend(moments, 0.01) != rounding.nearest()).any()


def test_groups_get_what_each_gets_alone() -> None:
    rounding, rows, results = layer(0, 5, 2, 25)
    together = rounding.descend(Moments.of(rows, results), 0.01)
    for g in range(5):
        part = slice(g, g + 1)
        alone = Rounding(rounding.weights[part], rounding.steps[part], rounding.fixed[part], -128, 127)
        np.testing.assert_array_equal(alone.descend(Moments.of(rows[part], results[part]), 0.01)[0], together[g])


@pytest.mark.parametrize("columns", [40, 300])
def test_when_all_inputs_are_the_same_the_sum_of_weights_is_kept(columns: int) -> None:
    rounding, _, _ = layer(0, 1, 16, columns, codes=30)
    x = np.random.RandomState(0).randn(1, 100, 1).astype(np.float32)
    rows = np.repeat(x, columns, axis=2)
    results = (rows @ rounding.weights.transpose(0, 2, 1)).astype(np.float32)
    codes = rounding.descend(Moments.of(rows, results), RIDGE)
    off, before = (
        np.abs(rounding.values(c).sum(axis=-1) - rounding.weights.sum(axis=-1)) for c in (codes, rounding.nearest())
    )
    assert (off <= rounding.steps).all()
    assert np.square(off).sum() < 0.1 * np.square(before).sum()


def test_correlated_inputs_gain_several_decibels_on_data_not_seen() -> None:
    rounding, rows, results = layer(0, 1, 16, 64, count=2000, shared=3.0, codes=15)
    codes = solved(rounding, rows[:, :1500], results[:, :1500], np.arange(1500) // 10)
    found, nearest = (errors(rounding, c, rows[:, 1500:], results[:, 1500:]).sum() for c in (codes, rounding.nearest()))
    assert 10 * np.log10(nearest / found) > 6


@pytest.mark.parametrize("different", [1, 3])
def test_few_examples_get_the_strongest_ridge(different: int) -> None:
    rounding, rows, results = layer(0, 1, 4, 20)
    examples = np.arange(200) * different // 200
    expected = rounding.descend(Moments.of(rows, results), 1.0)
    np.testing.assert_array_equal(solved(rounding, rows, results, examples), expected)
    assert (expected != rounding.nearest()).any()


def noisy(seed: int = 0) -> Tuple[Rounding, np.ndarray, np.ndarray]:
    """Return a layer of independent inputs, few of them, whose targets are mostly noise."""
    rounding, rows, results = layer(seed, 1, 32, 64, count=80, shared=0.0)
    return rounding, rows, results + 100 * np.random.RandomState(1).randn(*results.shape).astype(np.float32)


def test_where_the_targets_are_noise_the_nearest_codes_are_kept() -> None:
    rounding, rows, results = noisy()
    np.testing.assert_array_equal(solved(rounding, rows, results, np.arange(80)), rounding.nearest())
    # The descent alone would have followed the noise.
    assert (rounding.descend(Moments.of(rows, results), 0.01) != rounding.nearest()).mean() > 0.2


def test_whether_to_round_is_judged_by_examples_that_the_descent_did_not_see() -> None:
    rounding, rows, results = noisy()
    for descended in (rounding.descend(Moments.of(rows[:, :60], results[:, :60]), ridge) for ridge in (0.01, 0.1, 1.0)):
        seen, unseen = (
            [errors(rounding, c, rows[:, part], results[:, part]).sum() for c in (descended, rounding.nearest())]
            for part in (slice(None, 60), slice(60, None))
        )
        assert seen[0] < seen[1] and unseen[0] >= unseen[1]


def test_nothing_that_is_passed_is_changed() -> None:
    rounding, rows, results = layer(0, 2, 3, 20)
    arrays = (rounding.weights, rounding.steps, rounding.fixed, rows, results)
    copies = [array.copy() for array in arrays]
    solved(rounding, rows, results, np.arange(200))
    assert all((array == copy).all() for array, copy in zip(arrays, copies))
