"""A plan tells on which CPUs it computes something else than on those that it was made for."""

from __future__ import annotations

from typing import Any, List, Optional

import pytest

from mxquant.lowering import level_warnings as module
from mxquant.lowering.isa import LEVELS, PORTABLE
from mxquant.lowering.level_warnings import int8_lstms, level_warnings
from mxquant.lowering.stored_weights import EVEN, HALVED, NEARLY_EVEN
from mxquant.lowering.trial import _WITHOUT_LSTM
from mxquant.plan import LayerPlan, QuantPlan
from mxquant.plan.recurrent_plan import RecurrentPlan

PLANNED = (*LEVELS, PORTABLE)
SATURATING = ("avx2", "avx512")
FAILURE = "MXNet's int8 LSTM does not run here"


def layer(name: str, op: str = "Convolution", codes: Optional[int] = 127, **attrs: Any) -> LayerPlan:
    return LayerPlan(name, op, (name,), "int8", "", None if codes is None else "channel-wise", codes, **attrs)


def lstm(name: str) -> LayerPlan:
    recurrent = RecurrentPlan(-1.0, 1.0, 1.0)
    return layer(name, "RNN", None, recurrent=recurrent)


def warned(monkeypatch: Any, isa: Optional[str], here: str, *layers: LayerPlan) -> List[str]:
    """Return what is said of a plan on a machine; the LSTM runs where tables say that it does."""
    monkeypatch.setattr(module, "detect", lambda: here)
    monkeypatch.setattr(module, "lstm_failure", lambda: FAILURE if here in _WITHOUT_LSTM else None)
    return level_warnings(QuantPlan("onednn", "0" * 64, {each.name: each for each in layers}, {}, {}, isa))


@pytest.mark.parametrize("here", LEVELS)
@pytest.mark.parametrize("isa", PLANNED)
def test_saturation_is_told_where_the_machine_saturates_and_the_plan_does_not_know(
    isa: str, here: str, monkeypatch: Any
) -> None:
    found = warned(monkeypatch, isa, here, layer("c", codes=127), layer("e", codes=EVEN), layer("n", codes=NEARLY_EVEN))
    if here not in SATURATING or isa in (*SATURATING, PORTABLE):
        assert found == []
        return
    (text,) = found
    assert f"level '{isa}', this one has '{here}': sums of products saturate" in text
    assert f"isa='portable' for CPUs of several kinds, or isa='{here}' for this one" in text


@pytest.mark.parametrize("here", LEVELS)
@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_an_old_plan_with_halved_weights_is_named_on_cpus_that_do_not_halve(
    isa: str, here: str, monkeypatch: Any
) -> None:
    layers = (layer("safe"), layer("first", codes=HALVED), layer("second", "Deconvolution", HALVED))
    found = warned(monkeypatch, isa, here, *layers)
    if here in SATURATING:
        assert found == []
        return
    (text,) = found
    assert f"made for '{isa}', where oneDNN halves the weights of 2 layers ('first', ...)" in text
    assert f"on this CPU, '{here}', it does not" in text and "isa='portable'" in text


@pytest.mark.parametrize("here", LEVELS)
def test_64_codes_of_a_fully_connected_are_its_own_on_every_cpu(here: str, monkeypatch: Any) -> None:
    assert warned(monkeypatch, "avx2", here, layer("fc", "FullyConnected", HALVED)) == []


@pytest.mark.parametrize("here", LEVELS)
@pytest.mark.parametrize("isa", PLANNED)
def test_an_int8_lstm_is_named_where_it_does_not_run(isa: str, here: str, monkeypatch: Any) -> None:
    found = warned(monkeypatch, isa, here, lstm("one"), layer("c"), lstm("two"))
    about = [text for text in found if text.startswith(FAILURE)]
    assert len(about) == (here in _WITHOUT_LSTM)
    for text in about:
        assert "'one', 'two' are float32 here; plan with isa='portable'" in text
    saturates = here in SATURATING and isa not in (*SATURATING, PORTABLE)
    assert len(found) == len(about) + saturates


def test_without_an_lstm_none_is_tried(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "lstm_failure", lambda: pytest.fail("tried"))
    plan = QuantPlan("onednn", "0" * 64, {"c": layer("c")}, {}, {}, "vnni")
    assert int8_lstms(plan) == []
    monkeypatch.setattr(module, "detect", lambda: "vnni")
    assert level_warnings(plan) == []


@pytest.mark.parametrize("here", LEVELS)
def test_a_portable_plan_is_right_everywhere(here: str, monkeypatch: Any) -> None:
    layers = [layer("c"), layer("e", codes=EVEN), layer("n", codes=NEARLY_EVEN), layer("fc", "FullyConnected", 63)]
    assert warned(monkeypatch, PORTABLE, here, *layers) == []


@pytest.mark.parametrize("here", LEVELS)
def test_a_plan_for_no_cpu_says_nothing(here: str, monkeypatch: Any) -> None:
    assert warned(monkeypatch, None, here, layer("c", codes=HALVED), lstm("l")) == []


@pytest.mark.parametrize("here", LEVELS)
def test_all_that_differs_is_told(here: str, monkeypatch: Any) -> None:
    found = warned(monkeypatch, "avx2", here, layer("c", codes=HALVED), lstm("l"))
    assert len(found) == (here not in SATURATING) + (here in _WITHOUT_LSTM)
