"""RecurrentPlan: what the codes of an int8 LSTM stand for."""

from __future__ import annotations

import json
import math
from typing import Any, Dict

import pytest

from mxquant import LayerPlan, PlanError, QuantPlan, RecurrentPlan

PLAN = RecurrentPlan(-1.0, 3.0, 0.5)


def test_zero_is_a_code_and_the_ends_move_with_it() -> None:
    assert (PLAN.data_scale, PLAN.data_zero, PLAN.data_ends) == (32.0, 32, (-1.0, 3.0))
    uneven = RecurrentPlan(-1.0, 2.0, 0.5)
    assert uneven.data_zero == 43
    assert uneven.data_ends == pytest.approx((-43 * 3 / 128, 85 * 3 / 128))


def test_the_state_has_as_many_codes_above_0_as_below() -> None:
    assert (PLAN.state_scale, PLAN.state_zero) == (128.0, 64)


def test_data_without_negative_values_have_all_codes_above_0() -> None:
    assert RecurrentPlan(0.0, 2.0, 1.0).data_zero == 0


def test_a_plan_with_it_comes_back_from_json_as_it_was() -> None:
    layer = LayerPlan("rnn", "RNN", ("rnn",), "int8", "", "channel-wise", recurrent=PLAN)
    plan = QuantPlan("onednn", "ab", {"rnn": layer}, {})
    assert QuantPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"lowest": 0.5}, "expected 0 between"),
        ({"largest": -0.5}, "expected 0 between"),
        ({"lowest": 0, "largest": 0}, "expected 0 between"),
        ({"state": 0}, "recurrent.state is 0, expected a number above 0"),
        ({"state": math.inf}, "recurrent.state is inf, expected a finite number"),
        ({"largest": "3"}, "recurrent.largest is '3', expected a finite number"),
        ({"lowest": True}, "recurrent.lowest is True, expected a finite number"),
        ({"largest": 10**400}, "expected a finite number"),
        ({"state": math.nan}, "recurrent.state is nan, expected a finite number"),
        ({"lowest": 0, "largest": 1e-310}, "beyond the range of float32"),
        ({"largest": 1e38}, "beyond the range of float32"),
        ({"largest": 1e37, "state": 1e-3}, "beyond the range of float32"),
        ({"state": 1e-20}, "beyond the range of float32"),
        ({"codes": 128}, "expected an object of lowest, largest, state"),
    ],
)
def test_what_is_no_range_is_refused(changes: Dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        RecurrentPlan.read({"lowest": -1.0, "largest": 3.0, "state": 0.5, **changes})


@pytest.mark.parametrize("entry", [3, [], {"lowest": 1}])
def test_json_of_another_kind_is_refused_with_the_layer(entry: Any) -> None:
    layer = LayerPlan("rnn", "RNN", ("rnn",), "int8", "", "channel-wise", recurrent=PLAN)
    text = QuantPlan("onednn", "ab", {"rnn": layer}, {}).to_json()
    document = json.loads(text)
    document["layers"][0]["recurrent"] = entry
    with pytest.raises(PlanError, match=r"layers\['rnn'\].recurrent is .*, expected an object"):
        QuantPlan.from_json(json.dumps(document))
