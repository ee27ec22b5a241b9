"""The entropy search reproduces every candidate of the golden cases."""

import json
from pathlib import Path

import numpy as np
import pytest

from mxquant.thresholds.entropy import entropy_search

DATA = Path(__file__).parents[1] / "data"
CASES = json.loads((DATA / "optimal_threshold.json").read_text())


@pytest.fixture(scope="module")
def arrays():
    with np.load(DATA / "optimal_threshold.npz") as file:
        return dict(file)


def test_there_are_22_golden_cases():
    assert len(CASES) == 22


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_golden_case(case, arrays):
    name = case["name"]
    found = entropy_search(arrays[f"{name}/hist"], arrays[f"{name}/edges"], case["num_quantized_bins"])
    expected = arrays[f"{name}/divergence"]
    finite = np.isfinite(expected)
    assert np.array_equal(np.isfinite(found.divergences), finite)
    np.testing.assert_allclose(found.divergences[finite], expected[finite], rtol=1e-4, atol=1e-6)
    assert np.array_equal(found.thresholds, arrays[f"{name}/thresholds"])
    assert np.float32(found.threshold) == np.float32(case["threshold"])
