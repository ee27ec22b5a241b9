"""NumPy's names in MXNet: ``mx.np``, what it leaves to NumPy, NumPy's functions of its arrays, and ``mx.npx``."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon, npx

from mxquant.compat.features.compare import close, equal, holds
from mxquant.compat.features.feature import Feature

__all__ = ["FEATURES"]

_A = np.array([[3.0, 1, 2], [6, 5, 4]], "float32")
_SQUARE = np.array([[4.0, 1], [2, 3]], "float32")


def _compare(found: Any, expected: Any) -> None:
    if isinstance(expected, (tuple, list)):
        equal(len(found), len(expected))
        for one, other in zip(found, expected):
            _compare(one, other)
        return
    close(found, expected, 1e-4, 1e-5)


@mx.util.use_np
def _operators() -> None:
    a, ours, square = mx.np.array(_A), mx.np, mx.np.array(_SQUARE)
    two, axis = np.int64(2), np.int64(1)
    for found, expected in (
        (ours.sum(a, axis=axis), _A.sum(axis=1)), (ours.mean(a), _A.mean()), (ours.std(a, axis=0), _A.std(axis=0)),
        (a.reshape((np.int64(3), two)), _A.reshape(3, 2)), (a.T, _A.T), (ours.transpose(a, (axis, 0)), _A.T),
        (a[:, np.array([2, 0])], _A[:, [2, 0]]), (a[a > 2], _A[_A > 2]), (a[np.int64(1)], _A[1]),
        (ours.concatenate([a, a], axis=np.int64(0)), np.concatenate([_A, _A])),
        (ours.stack([a, a]), np.stack([_A, _A])),
        (ours.zeros((two, 3)), np.zeros((2, 3))), (ours.full((two,), np.float32(0.5)), np.full(2, 0.5)),
        (ours.arange(two, 8, two), np.arange(2, 8, 2)), (ours.linspace(0, 1, 5), np.linspace(0, 1, 5)),
        (ours.einsum("ij,kj->ik", a, a), _A @ _A.T), (ours.dot(a, a.T), _A @ _A.T),
        (ours.tensordot(a, a, 2), (_A**2).sum()),
        (ours.where(a > 2, a, -a), np.where(_A > 2, _A, -_A)), (ours.clip(a, 2, np.float64(4)), _A.clip(2, 4)),
        (ours.argsort(a), _A.argsort()), (ours.sort(a), np.sort(_A)), (ours.cumsum(a, axis=1), _A.cumsum(axis=1)),
        (ours.unique(ours.array([3, 1, 3])), [1, 3]), (ours.split(a, 3, axis=1)[1], _A[:, 1:2]),
        (ours.round(a / 3), np.round(_A / 3)),
        (ours.pad(a, ((1, 0), (0, two))), np.pad(_A, ((1, 0), (0, 2)))), (ours.tile(a, (1, two)), np.tile(_A, 2)),
        (ours.linalg.inv(square), np.linalg.inv(_SQUARE)), (ours.linalg.norm(a), np.linalg.norm(_A)),
        (ours.linalg.solve(square, a[:, 0]), np.linalg.solve(_SQUARE, _A[:, 0])), (ours.linalg.det(square), 10.0),
        (ours.maximum(a, 3), np.maximum(_A, 3)), (a ** np.float32(2), _A**2), (np.float64(2) / a, 2 / _A),
        (a % 2, _A % 2),
        (ours.quantile(a, ours.array([0.5])), [3.5]), (ours.histogram(a, bins=3, range=(0, 9))[0], [2, 3, 1]),
        (ours.nan_to_num(ours.array([np.nan, 1])), [0, 1]), (ours.isinf(ours.array([np.inf, 1])), [True, False]),
    ):  # fmt: skip
        close(found, expected, 1e-4, 1e-5)
    equal(ours.array([1, 2], dtype=ours.bool).dtype, np.dtype(bool))
    equal((ours.array([1.5]).item(), int(ours.array(3)), float(ours.array([0.5])[0])), (1.5, 3, 0.5))
    equal(ours.array(np.array([2**40]), dtype="int64").asnumpy()[0], 2**40)
    holds(np.isneginf(ours.NINF) and np.isnan(ours.NAN) and ours.newaxis is None, "constants are there")


def _left_to_numpy() -> Dict[str, Tuple[Any, ...]]:
    """Return arguments of functions that MXNet leaves to NumPy, those that NumPy has dropped first."""
    row, poly = np.array([1.0, 2, 4, 7], "float32"), np.array([1.0, -3, 2], "float32")
    return {
        "alltrue": (_A,), "in1d": (row, np.array([2.0, 7], "float32")), "msort": (_A[::-1],), "trapz": (row,),
        "ptp": (_A,), "cov": (_A,), "corrcoef": (_A,), "interp": (row, row, row * 2), "polyfit": (row, row * 2, 1),
        "polyadd": (poly, row), "polymul": (poly, row), "polysub": (poly, row), "polyint": (poly,), "roots": (poly,),
        "poly": (poly,), "polydiv": (row, poly), "vander": (row,), "trim_zeros": (np.array([0.0, 1, 0], "float32"),),
        "digitize": (row, np.array([0.0, 3, 5], "float32")), "searchsorted": (row, np.array([2.5], "float32")),
        "partition": (row, 2), "argpartition": (row, 1), "intersect1d": (row, row[1:]), "union1d": (row, poly),
        "setdiff1d": (row, row[:2]), "setxor1d": (row, row[:2]), "isin": (row, row[:2]), "isclose": (row, row + 1e-9),
        "allclose": (row, row), "array_equal": (row, row), "array_equiv": (row, row), "count_nonzero": (row - 1,),
        "nanmax": (_A,), "nanmedian": (_A,), "nanpercentile": (_A, 30), "nanprod": (_A,), "nanmin": (_A,),
        "correlate": (row, poly), "histogram2d": (row, row), "histogram_bin_edges": (row, 3), "unwrap": (row,),
        "take_along_axis": (_A, np.array([[0], [2]]), 1), "rollaxis": (_A, 1), "argwhere": (_A > 2,),
        "divmod": (row, 2),
        "flatnonzero": (row - 1,), "extract": (_A > 2, _A), "compress": ([True, False], _A, 0), "signbit": (poly,),
        "frexp": (row,), "modf": (row / 3,), "float_power": (row, 2), "heaviside": (poly, 0.5), "i0": (row,),
        "lexsort": (_A,), "packbits": (np.array([1, 0, 1], "uint8"),), "unpackbits": (np.array([5], "uint8"),),
        "select": ([row > 2, row > 1], [row, row * 2]), "choose": (np.array([0, 1, 1]), list(_A)), "spacing": (row,),
        "ndim": (_A,), "size": (_A,), "real": (row,), "positive": (row,), "apply_along_axis": (np.sum, 0, _A),
    }  # fmt: skip


# How NumPy calls today what it has dropped.
_TODAY: Dict[str, Any] = {
    "alltrue": np.all,
    "in1d": lambda a, b: np.isin(a, b).ravel(),
    "msort": lambda a: np.sort(a, axis=0),
    "trapz": lambda y: ((y[1:] + y[:-1]) / 2).sum(),
}


def _ours(value: Any) -> Any:
    """Return MXNet's arrays for NumPy's, also in a list."""
    if isinstance(value, list):
        return [_ours(each) for each in value]
    return mx.np.array(value, dtype=value.dtype) if isinstance(value, np.ndarray) else value


@mx.util.use_np
def _fallbacks() -> None:
    for name, arguments in _left_to_numpy().items():
        function = _TODAY[name] if name in _TODAY else getattr(np, name)
        if name == "apply_along_axis":
            arguments = (lambda column: column.sum(), *arguments[1:])
        try:
            _compare(getattr(mx.np, name)(*map(_ours, arguments)), function(*arguments))
        except Exception as error:
            raise type(error)(f"{name}: {error}") from error
    equal(float(mx.np.nanpercentile(_ours(_A), 50, interpolation="lower")), 3.0)
    q, r = mx.np.linalg.qr(_ours(_SQUARE))
    close(mx.np.dot(q, r), _SQUARE, 1e-4)
    close(mx.np.linalg.cond(_ours(_SQUARE)), np.linalg.cond(_SQUARE), 1e-4)
    close(mx.np.linalg.matrix_power(_ours(_SQUARE), 3), _SQUARE @ _SQUARE @ _SQUARE, 1e-4)
    equal(int(mx.np.linalg.matrix_rank(_ours(_SQUARE))), 2)
    close(mx.np.linalg.lstsq(_ours(_SQUARE), _ours(_A[:, 0]), rcond=None)[0], np.linalg.solve(_SQUARE, _A[:, 0]), 1e-4)


@mx.util.use_np
def _dispatch() -> None:
    a, square = mx.np.array(_A), mx.np.array(_SQUARE)
    for found, expected in (
        (np.sum(a), _A.sum()), (np.mean(a, axis=0), _A.mean(axis=0)), (np.stack([a, a]), np.stack([_A, _A])),
        (np.exp(a), np.exp(_A)), (np.add(a, 1), _A + 1), (np.maximum(a, a), _A), (np.dot(a, a.T), _A @ _A.T),
        (np.transpose(a), _A.T), (np.reshape(a, (3, 2)), _A.reshape(3, 2)), (np.where(a > 2, a, a), _A),
        (np.std(a), _A.std()), (np.cumsum(a), _A.cumsum()), (np.argmax(a, axis=1), _A.argmax(axis=1)),
        (np.linalg.inv(square), np.linalg.inv(_SQUARE)), (np.linalg.norm(a), np.linalg.norm(_A)), (np.median(a), 3.5),
        (np.linalg.svd(square)[1], np.linalg.svd(_SQUARE)[1]), (np.linalg.slogdet(square)[1], np.log(10)),
        (np.divide(a, 2), _A / 2), (np.true_divide(a, a), np.ones((2, 3))), (np.floor_divide(a, 2), _A // 2),
        (np.round(a / 3), np.round(_A / 3)), (np.prod(a), _A.prod()), (np.einsum("ij->i", a), _A.sum(axis=1)),
        (np.float32(2) / a, 2 / _A), (np.gradient(a)[0], np.gradient(_A)[0]), (np.unique(a), np.unique(_A)),
    ):  # fmt: skip
        holds(isinstance(found, (mx.np.ndarray, np.generic, int, float)), "the result is an array of MXNet's")
        close(found, expected, 1e-4, 1e-5)
    equal(np.asarray(a), _A)
    a.attach_grad()
    with autograd.record():
        total = np.sum(np.divide(a, 4) * np.sin(a))
    total.backward()
    close(a.grad, np.sin(_A) / 4 + _A / 4 * np.cos(_A), 1e-4, 1e-5)


@mx.util.use_np
def _extensions() -> None:
    a = mx.np.array(_A)
    shares = np.exp(_A - _A.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    close(npx.softmax(a), shares, 1e-4)
    close(npx.relu(a - 3), np.maximum(_A - 3, 0))
    close(npx.one_hot(mx.np.array([2, 0]), np.int64(3)), np.eye(3)[[2, 0]])
    close(npx.topk(a, k=np.int64(1), ret_typ="value"), [[3], [6]])
    close(npx.pick(a, mx.np.array([1, 2])), [1, 4])
    close(npx.batch_dot(a[None], a.T[None]), (_A @ _A.T)[None])
    close(npx.reshape(a, (-2, np.int64(1), 3)), _A[:, None])
    npx.save("some.npz", {"x": a})
    close(npx.load("some.npz")["x"], _A)
    equal(mx.np.zeros(()).shape, ())
    layer = gluon.nn.Dense(2, in_units=3)
    layer.initialize(mx.init.Constant(0.5))
    layer.hybridize()
    close(layer(a), np.repeat(_A.sum(axis=1, keepdims=True) / 2, 2, axis=1))

    class Scaled(gluon.HybridBlock):
        def hybrid_forward(self, F: Any, x: Any) -> Any:
            return F.np.sum(F.npx.relu(x - np.float32(2)), axis=(np.int64(1),)).reshape((np.int64(1), -1))

    block = Scaled()
    block.hybridize()
    close(block(a), np.maximum(_A - 2, 0).sum(axis=1)[None])


FEATURES = (
    Feature("mx.np", _operators),
    Feature("functions of mx.np that are NumPy's", _fallbacks),
    Feature("NumPy's functions of arrays of mx.np", _dispatch),
    Feature("mx.npx", _extensions),
)
