"""What all tests share: one seed, repeatable Hypothesis, MXNet on all processors, and the option --all."""

from __future__ import annotations

import os
import random

# Both are read when MXNet starts. By itself it uses half of the processors, and tells of every fusion.
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")

import hypothesis
import numpy as np
import pytest

from mxquant.runtime.mxnet import mx

hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")

ON_REQUEST = ("benchmark", "slow")


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="run slow tests and benchmarks too")


def pytest_collection_modifyitems(config, items):
    """Leave out what takes long, unless --all or -m asks for it."""
    if config.getoption("--all") or config.getoption("-m"):
        return
    later = [item for item in items if any(map(item.get_closest_marker, ON_REQUEST))]
    config.hook.pytest_deselected(items=later)
    items[:] = [item for item in items if item not in later]


@pytest.fixture(autouse=True)
def seeded():
    random.seed(0)
    np.random.seed(0)
    mx.random.seed(0)
