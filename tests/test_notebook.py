"""In a notebook, plans, statistics, comparisons and sensitivities show as tables, whatever layers are called."""

from __future__ import annotations

from typing import Any, Tuple
from xml.etree import ElementTree

import pytest

import mxquant
from mxquant.runtime.mxnet import mx
from tests.networks import conv, images, random_params, relu

NAME = "<b>&odd"


@pytest.fixture(scope="module")
def objects() -> Tuple[Any, ...]:
    symbol = conv(relu(conv(mx.sym.var("data"), NAME), "act"), "last")
    data = images(4, 4, 8, 8)
    args, aux = random_params(symbol, data=data.shape)
    params = {"arg_params": args, "aux_params": aux}
    statistics = mxquant.calibrate(symbol, data, **params)
    plan = mxquant.make_plan(symbol, statistics, **params)
    return (
        plan,
        statistics,
        mxquant.compare(symbol, plan, data, **params),
        mxquant.sensitivity(symbol, data, **params),
    )


@pytest.mark.parametrize("index, rows, name", [(0, 2, NAME), (1, None, "act_output"), (2, 2, NAME), (3, 2, NAME)])
def test_it_is_a_table_with_a_row_for_each(objects: Tuple[Any, ...], index: int, rows: Any, name: str) -> None:
    thing = objects[index]
    table = ElementTree.fromstring(f"<div>{thing._repr_html_()}</div>")
    found = table.findall(".//tbody/tr")
    assert len(found) == (len(thing) if rows is None else rows)
    assert any(name in (cell.text or "") for row in found for cell in row)
    assert (table.find(".//caption").text or "").startswith(type(thing).__name__)


def test_the_numbers_are_those_of_the_object(objects: Tuple[Any, ...]) -> None:
    plan, statistics, comparison, _ = objects
    assert "2 of 2 layers in int8" in plan._repr_html_()
    assert f"{statistics['data'].maximum:.5g}" in statistics._repr_html_()
    assert f"{comparison.layers[0].sqnr:.1f}" in comparison._repr_html_()
