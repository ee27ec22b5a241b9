"""Modules keep the names that they had."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

import pytest

import mxquant
from mxquant.runtime.moved import MOVED, keep_old_names


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_gives_the_module_itself(old: str) -> None:
    module = import_module(f"mxquant.{old}")
    assert module is import_module(f"mxquant.{MOVED[old]}")
    assert module.__name__ == f"mxquant.{MOVED[old]}" and module.__spec__.name == module.__name__


def test_so_do_the_modules_of_a_package_that_has_moved() -> None:
    import mxquant.export.qdq as old
    from mxquant.export import shapes

    assert old is import_module("mxquant.onnx_export.qdq")
    assert shapes is import_module("mxquant.onnx_export.shapes")


def test_what_is_imported_from_them_is_the_same() -> None:
    from mxquant.plan_options import PlanOptions
    from mxquant.quantized_model import QuantizedModel
    from mxquant.tables import write_tensorrt_cache

    from mxquant.calibration import calibrate
    from mxquant.model import load_params
    from mxquant.plan import LayerPlan, QuantPlan, TensorPlan

    assert (QuantPlan, LayerPlan, TensorPlan) == (mxquant.QuantPlan, mxquant.LayerPlan, mxquant.TensorPlan)
    assert QuantizedModel is mxquant.QuantizedModel and callable(calibrate)
    assert load_params.__module__.startswith("mxquant.model.")
    assert (PlanOptions.__module__, write_tensorrt_cache.__module__) == (
        "mxquant.planning.plan_options",
        "mxquant.plan.tables",
    )


def test_other_names_are_still_unknown() -> None:
    for name in ("mxquant.nothing", "mxquant.tables_of", "other.tables"):
        with pytest.raises(ModuleNotFoundError):
            import_module(name)
    assert find_spec("mxquant.plan").origin.endswith("__init__.py")  # type: ignore[union-attr]


def test_the_finder_stands_once() -> None:
    before = list(sys.meta_path)
    keep_old_names()
    assert sys.meta_path == before
