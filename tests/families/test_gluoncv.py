"""Networks of GluonCV, and two others, in int8: as near to fp32 as their plans say, and outputs of the same shapes."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

import mxquant
from mxquant.analysis.turns import bound
from tests.benchmark.families import table
from tests.families.zoo import FAMILIES, OWN, loaded
from tests.networks import network_of

# Random weights amplify whatever is added, the one code besides by which the CPU may differ from the simulation too.
APART_DB = 3.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FAMILIES)
def test_heads_are_as_near_as_in_the_simulation_and_outputs_keep_their_shapes(name: str) -> None:
    if name not in OWN and find_spec("gluoncv") is None:
        pytest.skip("GluonCV is missing: pip install '.[examples-cv]'")
    symbol, args, aux, data = loaded(name)
    params = {"arg_params": args, "aux_params": aux}
    model = mxquant.quantize(symbol, data, **params, accuracy="fast")
    for head in mxquant.compare(symbol, model, data, **params).outputs:
        assert head.int8_sqnr >= head.sqnr - APART_DB, head
    fp32, int8 = network_of(symbol, args, aux), network_of(model.symbol, model.arg_params, model.aux_params)
    shapes = [[out.shape for out in bound(each, {"data": data}).forward()] for each in (fp32, int8)]
    assert shapes[0] == shapes[1]


def test_the_table_has_a_line_for_each_network_and_what_stays_float32() -> None:
    row = {
        "family": "detection",
        "network": "ssd",
        "shape": [1, 3, 8, 8],
        "macs": 0.98,
        "heads": {"scores": 30.0, "boxes": 40.0},
        "boxes": {"int8": [19, 18, 20], "data": [20, 17, 20]},
        "milliseconds": {"fp32": 20.0, "int8": 10.0},
        "ratio": 2.0,
        "float32": {"before a decision": {"flatten": 2, "softmax": 1}},
    }
    lines = table([row], {"cpu": "a CPU", "processors": 2, "int8": "vnni", "threads": "1"}).splitlines()
    assert lines[0] == "a CPU, 2 processors, int8 instructions: vnni. 1 OpenMP threads."
    assert (
        "| detection | ssd, 1x3x8x8 | 98.0 % | 2: 30.0 / 35.0 dB | 19 / 18 of 20; 20 / 17 of 20 | 20.0 / 10.0 | 2.00 |"
        in lines
    )
    assert "| ssd | before a decision: 2 flatten, softmax |" in lines
