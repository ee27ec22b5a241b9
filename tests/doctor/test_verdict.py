"""The verdict follows rules that the page states."""

from __future__ import annotations

from typing import Any, Tuple

import pytest

from mxquant.doctor.verdict import verdict_of

NONE: Tuple[Any, Any] = (None, None)


@pytest.mark.parametrize(
    "sqnr, agreement, accuracy, level",
    [
        (20.0, None, NONE, "trust"),
        (19.9, None, NONE, "care"),
        (9.9, None, NONE, "distrust"),
        (30.0, 0.98, NONE, "trust"),
        (30.0, 0.97, NONE, "care"),
        (30.0, 0.89, NONE, "distrust"),
        (30.0, 1.0, (0.80, 0.795), "trust"),
        (30.0, 1.0, (0.80, 0.78), "care"),
        (30.0, 1.0, (0.80, 0.70), "distrust"),
        (float("inf"), 1.0, (0.5, 0.6), "trust"),
    ],
)
def test_levels(sqnr: float, agreement: Any, accuracy: Tuple[Any, Any], level: str) -> None:
    found, verdict, reasons = verdict_of(sqnr, agreement, accuracy, (), ())
    assert found == level and bool(reasons) == (level != "trust")
    assert verdict.endswith(".")


def test_what_this_cpu_does_otherwise_is_never_trusted() -> None:
    warning = "output 'x' has 3.0 dB on this CPU, but 30.0 dB in the simulation; sums of products saturate here"
    assert verdict_of(30.0, 1.0, NONE, (warning,), ())[0] == "distrust"
    assert verdict_of(30.0, 1.0, NONE, ("on 'avx2' it would saturate",), ())[0] == "trust"


def test_the_sentence_tells_the_numbers() -> None:
    _, verdict, _ = verdict_of(24.04, 0.995, (0.71, 0.70), (), (10.0, 4.0))
    assert "24.0 dB" in verdict and "99.5 %" in verdict and "70.0 % instead of 71.0 %" in verdict
    assert "2.5 times as fast" in verdict
