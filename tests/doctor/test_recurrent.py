"""An LSTM in the doctor's report: in int8, or why not; timed as a whole, and drawn without the zeros to begin with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mxquant.doctor import diagnose
from mxquant.doctor.drawing import draw
from mxquant.lowering.isa import detect
from mxquant.lowering.trial import no_lstm
from mxquant.runtime.mxnet import mx
from tests.families.text_networks import TINY, Recurrent, initialized, tokens


@pytest.fixture(scope="module")
def found() -> Any:
    net = initialized(Recurrent("LSTM", 256, 2, prefix="net_"))
    return diagnose(net, [(mx.nd.array(ids[None]),) for ids in tokens(TINY, 8, 32)[0]], accuracy="fast")


@pytest.fixture(scope="module")
def layers(found: Any) -> Any:
    layers = {layer.name: layer for layer in found.layers if layer.op == "RNN"}
    assert set(layers) == {"net_layer_rnn0_layer0", "net_layer_rnn0"}
    return layers.values()


def test_its_time_is_that_of_its_operator(layers: Any) -> None:
    # The operators around it take a hundredth of this.
    assert all(0.1 < layer.int8_ms / layer.fp32_ms < 3 for layer in layers)
    assert all(layer.macs > 0.2 for layer in layers)


def test_it_is_int8_and_its_error_known_or_it_says_why_not_and_what_to_do(layers: Any) -> None:
    why = no_lstm(detect())
    for layer in layers:
        if why is None:
            assert layer.precision == "int8" and np.isfinite(layer.local)
        else:
            assert (layer.precision, layer.local, layer.reason) == ("float32", None, why)
            assert layer.remedy


def test_fp32_as_a_whole_is_the_network_of_the_users(found: Any) -> None:
    # Gluon's network joins the parameters of all gates at each pass, which its layers in the table have done once.
    assert found.fp32_ms > 1.3 * sum(layer.fp32_ms for layer in found.layers)


def test_the_zeros_are_in_the_table_but_not_in_the_drawing(found: Any) -> None:
    assert "_zeros" in {layer.op for layer in found.layers}
    drawing = draw(found.layers)
    assert "_zeros" not in {box.layer.op for box in drawing.boxes}
    assert drawing.width < 2 * 236 + 100
