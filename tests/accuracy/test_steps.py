"""What holds for all steps of accuracy, and the order in which they are taken."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, FrozenSet

import pytest

import mxquant
from mxquant.accuracy.improving import Improving
from mxquant.accuracy.presets import EXAMPLES
from mxquant.accuracy.step import EXAMPLES as NEEDS_EXAMPLES
from mxquant.accuracy.step import STATISTICS, Asked, Step
from mxquant.accuracy.steps import SCALES, STEPS, THRESHOLDS, WEIGHTS
from mxquant.runtime.mxnet import mx
from tests.networks import conv, images, random_params, relu


def names(accuracy: str, method: Any = None) -> FrozenSet[str]:
    asked = Asked(accuracy, method, EXAMPLES[accuracy])
    return frozenset(step.name for step in STEPS if step.applies(asked))


def test_the_kinds_follow_each_other() -> None:
    assert (*THRESHOLDS, *SCALES, *WEIGHTS) == STEPS


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_a_step_says_what_it_is(step: Step) -> None:
    assert step.name and step.needs <= {STATISTICS, NEEDS_EXAMPLES}
    assert (type(step).__doc__ or "").strip()


def test_no_two_steps_have_one_name_in_plans() -> None:
    found = [step.name for step in (*SCALES, *WEIGHTS)]
    assert len(set(found)) == len(found)


def test_every_class_is_listed() -> None:
    folder = Path(inspect.getfile(Improving)).parent
    written = {
        line.split("(")[0][len("class ") :]
        for path in folder.glob("*.py")
        for line in path.read_text().splitlines()
        if line.startswith("class ") and line.endswith(("(ThresholdStep):", "(ScaleStep):", "(WeightStep):"))
    }
    assert written == {type(step).__name__ for step in STEPS}


def test_presets_take_what_they_have_examples_for() -> None:
    assert names("fast") == {"thresholds as asked for", "none", "analytic bias correction"}
    usual = {"thresholds as asked for", *(step.name for step in (*SCALES, *WEIGHTS))}
    assert names("balanced") == usual
    assert names("balanced", "entropy") == names("best", "entropy") == usual
    assert names("best") == names("best", "auto") == {step.name for step in STEPS}
    assert names("balanced", "auto") == usual - {"thresholds as asked for"} | {"thresholds of least measured error"}


def test_methods_of_single_tensors_hold_in_the_plan_that_was_asked_for() -> None:
    symbol = conv(relu(conv(mx.sym.var("data"), "first"), "act"), "last")
    data = images(16, 4, 8, 8)
    args, aux = random_params(symbol, data=data.shape)
    options: Any = {"arg_params": args, "aux_params": aux, "tensor_methods": {"data": "minmax"}}
    for accuracy in ("fast", "balanced"):
        model = mxquant.quantize(symbol, data, accuracy=accuracy, **options)
        assert model.plan.tensors["data"].method == "minmax"
