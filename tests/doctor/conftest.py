"""A small network with everything that a page shows, examined once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np
import pytest

import mxquant
from mxquant.doctor import Diagnosis, diagnose
from mxquant.runtime.mxnet import mx
from tests.networks import conv, dense, images, random_params, relu

DATA = images(16, 4, 12, 12)


def network() -> Tuple[Any, Dict[str, Any]]:
    """Return a network with a branch, a sum, a layer that cannot be int8, and a name that is no HTML."""
    stem = relu(conv(mx.sym.var("data"), "stem", 16), "stem_relu")
    total = mx.sym.elemwise_add(conv(stem, "branch", 16), stem, name="sum")
    curve = mx.sym.Activation(relu(total, "sum_relu"), act_type="softsign", name="<script>alert(1)</script>")
    symbol = dense(relu(conv(curve, "last", 8), "last_relu"), "fc", 5)
    args, aux = random_params(symbol, data=DATA.shape)
    return symbol, {"arg_params": args, "aux_params": aux}


@pytest.fixture(scope="session")
def found() -> Diagnosis:
    """Return the diagnosis of the network, by data with labels that are its own fp32 classes."""
    symbol, params = network()
    executor = symbol.bind(mx.cpu(), {**params["arg_params"], "data": mx.nd.array(DATA)})
    labels = executor.forward()[0].asnumpy().argmax(axis=1)
    batches = [(DATA[i : i + 8], labels[i : i + 8].astype(np.float32)) for i in (0, 8)]
    return diagnose(symbol, batches, accuracy="fast", **params)


@pytest.fixture(scope="session")
def path(found: Diagnosis, tmp_path_factory: Any) -> Path:
    """Return the page."""
    file: Path = tmp_path_factory.mktemp("page") / "report.html"
    found.save(file)
    return file


@pytest.fixture(scope="session")
def model() -> mxquant.QuantizedModel:
    """Return an int8 network of the network."""
    symbol, params = network()
    made = mxquant.quantize(symbol, DATA, accuracy="fast", exclude_layers=["branch"], **params)
    assert isinstance(made, mxquant.QuantizedModel)
    return made
