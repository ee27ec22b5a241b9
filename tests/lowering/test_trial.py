"""Whether MXNet's int8 LSTM runs on a CPU is known for most, and tried once on this one where it should."""

from __future__ import annotations

from typing import Any, Iterator, List, Optional

import pytest

from mxquant.lowering import isa as levels
from mxquant.lowering import trial
from mxquant.runtime.mxnet import mx
from tests.lowering.int8_lstm import LEVELS

KEPT = "; it stays float32, its parameters joined once"


class Trials:
    """Stands for MXNet's operator."""

    def __init__(self, error: Optional[Exception] = None) -> None:
        self.error, self.count = error, 0

    def __call__(self, *inputs: Any, **attrs: Any) -> Trials:
        self.count += 1
        return self

    def wait_to_read(self) -> None:
        """Raise what MXNet raises when it comes to compute."""
        if self.error is not None:
            raise self.error


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Let nothing be known of this CPU, and nothing that is found out about another be kept."""
    trial.lstm_failure.cache_clear()
    yield
    trial.lstm_failure.cache_clear()


def pretend(monkeypatch: pytest.MonkeyPatch, level: str, error: Optional[Exception] = None) -> Trials:
    """Take this CPU for another one, and the operator for one that works, or raises."""
    trials = Trials(error)
    monkeypatch.setattr(levels, "detect", lambda: level)
    monkeypatch.setattr(mx.nd.contrib, "quantized_rnn", trials)
    return trials


@pytest.mark.parametrize("isa", levels.LEVELS)
def test_of_other_cpus_it_is_known_without_a_trial(isa: str, monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    trials = pretend(monkeypatch, "another")
    expected = None if isa in LEVELS else f"MXNet's int8 LSTM does not run on CPUs of level '{isa}'{KEPT}"
    assert trial.no_lstm(isa) == expected
    assert trials.count == 0


@pytest.mark.parametrize("here", levels.LEVELS)
def test_a_plan_for_every_cpu_has_none_wherever_it_is_made(
    here: str, monkeypatch: pytest.MonkeyPatch, forgetful: None
) -> None:
    trials = pretend(monkeypatch, here)
    assert trial.no_lstm(levels.PORTABLE) == f"MXNet's int8 LSTM does not run on every CPU, as the plan has to{KEPT}"
    assert trials.count == 0


@pytest.mark.parametrize("here", [level for level in levels.LEVELS if level not in LEVELS])
def test_where_it_is_known_to_fail_it_is_not_tried(here: str, monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    trials = pretend(monkeypatch, here)
    assert trial.lstm_failure() == f"MXNet's int8 LSTM does not run on CPUs of level '{here}'"
    assert trial.no_lstm(here) == f"{trial.lstm_failure()}{KEPT}"
    assert trials.count == 0


@pytest.mark.parametrize("here", LEVELS)
def test_where_it_should_run_it_is_tried_once(here: str, monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    trials = pretend(monkeypatch, here)
    answers: List[Optional[str]] = [trial.no_lstm(here), trial.lstm_failure(), trial.no_lstm(here)]
    assert answers == [None] * 3
    assert trials.count == 1


def test_where_it_fails_against_expectation_plans_have_none(monkeypatch: pytest.MonkeyPatch, forgetful: None) -> None:
    trials = pretend(monkeypatch, "avx2", mx.MXNetError("a trace\nMXNetError: could not create a primitive\nmore"))
    failure = (
        "MXNet's int8 LSTM does not run on CPUs of level 'avx2', as this one is: "
        "MXNetError: could not create a primitive"
    )
    assert [trial.lstm_failure(), trial.no_lstm("avx2")] == [failure, failure + KEPT]
    assert trials.count == 1
    # Of others it says nothing.
    assert trial.no_lstm("avx512") is None


def test_this_cpu_is_as_its_level_says() -> None:
    assert (trial.lstm_failure() is None) == (levels.detect() in LEVELS)
    assert (trial.no_lstm(levels.detect()) is None) == (levels.detect() in LEVELS)
