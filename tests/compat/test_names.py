"""What MXNet's modules find by NumPy's old names, and what all others do not."""

import math
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mxquant.compat.numpy_names import Overlay, numpy_with_old_names
from mxquant.compat.plain_text import PlainText, plain_text
from mxquant.compat.stand_ins import Version, stand_in, with_old_names
from mxquant.runtime.mxnet import mx

ROOT = Path(__file__).resolve().parents[2]
OLD = numpy_with_old_names()


def test_the_types_of_python_are_those_of_python():
    for name in ("bool", "int", "float", "complex", "object", "str"):
        assert getattr(OLD, name).__module__ == "builtins" and getattr(OLD, name).__name__ == name


@pytest.mark.parametrize("name, value", [("Inf", math.inf), ("PINF", math.inf), ("NINF", -math.inf), ("PZERO", 0.0)])
def test_constants(name, value):
    assert getattr(OLD, name) == value


def test_the_constants_that_equality_does_not_tell():
    assert math.isnan(OLD.NAN) and math.isnan(OLD.NaN)
    assert math.copysign(1, OLD.NZERO) == -1 and math.copysign(1, OLD.PZERO) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # where NumPy has the name still, the function warns
def test_functions():
    a = np.array([[3, 1, 2], [0, 5, 4]])
    assert np.array_equal(OLD.msort(a), [[0, 1, 2], [3, 5, 4]])
    assert np.array_equal(OLD.in1d(a, [5, 0], invert=True), [True, True, True, False, False, True])
    assert OLD.trapz([1.0, 2.0, 4.0]) == 4.5
    assert OLD.alltrue([True, False]) == False and OLD.sometrue([True, False]) == True  # noqa: E712
    assert OLD.product([2, 3]) == 6 and np.array_equal(OLD.cumproduct([2, 3]), [2, 6]) and OLD.round_(2.6) == 3
    assert OLD.asfarray([1, 2]).dtype == np.float64 and OLD.asscalar(np.array([7])) == 7
    assert np.array_equal(OLD.row_stack([[1], [2]]), [[1], [2]])
    assert OLD.float_ is np.float64 and OLD.unicode_ is np.str_
    assert OLD.core.numeric.normalize_axis_tuple((-1, 0), 3) == (2, 0)
    assert OLD.compat.basestring is str


def test_histograms_of_a_range_in_float32_have_edges_of_double_precision():
    values = np.random.RandomState(1).randn(4000).astype("f")
    th = np.abs(values).max()
    counts, edges = OLD.histogram(values, bins=8001, range=(-th, th))
    exact = np.linspace(-float(th), float(th), 8002).astype("f")
    assert np.array_equal(edges, exact) and np.array_equal(counts, np.histogram(values, exact)[0])
    assert OLD.histogram([1, 2, 2], 2)[0].tolist() == [1, 2]


def test_a_function_of_finance_says_where_it_is():
    if "rate" not in vars(np):
        with pytest.raises(NotImplementedError, match=r"no 'rate' since 1.20; numpy_financial.rate computes it"):
            OLD.rate(1, 2, 3, 4)


def test_all_else_is_numpy_s_own():
    assert OLD.ndarray is np.ndarray and OLD.random is np.random and OLD.__name__ == "numpy"
    with pytest.raises(AttributeError):
        OLD.no_such_name  # noqa: B018


def test_numpy_itself_stays_as_it_is():
    code = """if True:
        import sys
        import numpy as np
        before = dict(vars(np))
        import mxquant, mxnet
        mxnet.nd.array(np.ones(3)).asnumpy()
        changed = {name for name, value in vars(np).items() if name not in before or value is not before[name]}
        print([name for name in changed if not isinstance(vars(np)[name], type(sys))])  # loaded on demand"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_an_overlay_asks_the_module_behind_it_late():
    behind = ModuleType("behind")
    over = Overlay(behind, {"own": 1})
    behind.later = 2
    assert (over.own, over.later) == (1, 2) and not hasattr(behind, "own")


@pytest.mark.parametrize(
    "value, text",
    [
        ((np.int64(2), 3), "(2, 3)"),
        ([np.float32(0.1), (np.int32(-1),)], "[0.1, (-1,)]"),
        ((np.bool_(True), None, "np.x"), "(True, None, 'np.x')"),
        ((np.str_("a"), np.bytes_(b"b")), "('a', b'b')"),
        ((np.float64("nan"), np.float16(0.5)), "(nan, 0.5)"),
        (np.int64(7), "7"),
        ((), "()"),
        ("np.float64(1)", "np.float64(1)"),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_the_text_of_values(value, text):
    assert plain_text(value) == text == PlainText(value)
    assert type(PlainText(value)) is str


def test_whoever_asks_for_text_gets_an_answer_as_from_str():
    assert isinstance("a", PlainText) and not isinstance(1, PlainText) and isinstance(np.str_("a"), PlainText)
    assert issubclass(str, PlainText) and not issubclass(int, PlainText)
    assert PlainText() == "" and PlainText(b"\xc3\xa4", "utf-8") == "ä" and PlainText(b"a", encoding="ascii") == "a"
    assert PlainText.join(",", ["a", "b"]) == "a,b"

    class Name(PlainText):
        def __new__(cls, text):
            return super().__new__(cls, text)

    assert isinstance(Name("a"), Name) and Name("a") == "a" and not isinstance("a", Name)


@pytest.mark.parametrize("older, newer", [("1.9.0", "1.16"), ("1.26.4", "2.0.0"), ("2.0.2", "2.5.5"), ("1.0", "1.0.1")])
def test_versions_are_compared_by_their_numbers(older, newer):
    assert Version(older) < Version(newer) and Version(newer) > Version(older) and Version(older) < newer
    assert Version(older) <= Version(older) and Version(older) != Version(newer)


def test_the_same_version():
    assert Version("1.0") == Version("1.0.0") == "1" and hash(Version("1.0")) == hash(Version("1"))
    assert Version("2.2.0rc1") >= Version("2.2.0") and str(Version("2.2.0rc1")) == "2.2.0rc1"
    assert Version("1.0") != 1
    with pytest.raises(TypeError):
        assert Version("1.0") < 1


def test_distutils_is_stood_for_and_other_modules_are_not():
    module = stand_in("distutils.version")
    assert module.LooseVersion("1.10") > module.LooseVersion("1.9") and module is stand_in("distutils.version")
    assert stand_in("os.path") is None and stand_in("distutils") is None


# An onnx that has it still deprecates it.
@pytest.mark.filterwarnings("ignore:`mapping:DeprecationWarning")
def test_onnx_has_the_table_of_its_types():
    onnx = pytest.importorskip("onnx")
    mapping = with_old_names(onnx).mapping
    for name, number in (("float32", 1), ("uint8", 2), ("int8", 3), ("int64", 7), ("bool", 9), ("float64", 11)):
        assert mapping.TENSOR_TYPE_TO_NP_TYPE[number] == np.dtype(name)
        assert mapping.NP_TYPE_TO_TENSOR_TYPE[np.dtype(name)] == number


def test_sparse_matrices_of_scipy_are_taken_without_a_warning():
    sparse = pytest.importorskip("scipy.sparse")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = mx.nd.sparse.array(sparse.csr_matrix(np.eye(3, dtype="f"))).asnumpy()
    assert np.array_equal(back, np.eye(3))
