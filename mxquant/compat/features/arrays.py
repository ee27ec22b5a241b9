"""Arrays of MXNet: indices, types, files, sparse ones, random ones, and their way to NumPy and back."""

from __future__ import annotations

from typing import Any

import mxnet as mx
import numpy as np

from mxquant.compat.features.compare import as_numpy, close, equal, holds, raises
from mxquant.compat.features.feature import Feature

__all__ = ["FEATURES"]


def _indices() -> None:
    values = np.arange(24, dtype="float32").reshape(2, 3, 4)
    array = mx.nd.array(values)
    keys: Any = (
        1, -1, (0, 2), np.int64(1), (np.int32(1), slice(None, None, 2)), slice(0, 1), (Ellipsis, np.int64(2)),
        (slice(None), [0, 2]), (slice(None), np.array([2, 0])), (np.array([0, 1]), np.array([1, 2])), (None, 1),
        (slice(None, None, -1), slice(2, 0, -1)), (0, slice(None), np.array([[0, 1], [2, 3]])),
    )  # fmt: skip
    for key in keys:
        expected = values[key]
        equal(array[key], expected if expected.shape else expected.reshape(1))
    equal(array[mx.nd.array([1, 0])], values[[1, 0]])
    places: Any = ((0, 5), ((slice(None), np.int64(1)), np.float32(7)), ((1, [0, 2]), np.ones((2, 4))))
    for key, value in places:
        array[key] = value
        values[key] = value
        equal(array, values)
    equal(mx.nd.contrib.boolean_mask(array, mx.nd.array([0, 1])), values[1:])
    equal(mx.nd.take(array, mx.nd.array([1], dtype="int32"), axis=np.int64(1)), values[:, [1]])
    raises(IndexError, lambda: array[5])


def _types() -> None:
    for name in ("float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool"):
        values = np.array([0, 1, 1, 0]).astype(name)
        array = mx.nd.array(values, dtype=name)
        equal(array, values)
        equal(array.asnumpy().dtype, np.dtype(name))
        equal(array.astype("int32"), values.astype("int32"))
    equal(mx.nd.array(np.arange(3.0)).dtype, np.float32)
    equal(mx.nd.array([1, 2], dtype=np.dtype("int64")).dtype, np.int64)
    tiny = mx.nd.array([200, 100], dtype="uint8")
    equal(tiny + 100, np.array([44, 200], "uint8"))
    equal(mx.nd.array([300, -1], dtype="uint8"), np.array([44, 255], "uint8"))
    equal(mx.nd.array([1.5]).asscalar(), np.float32(1.5))
    equal((bool(mx.nd.array([2])), len(mx.nd.ones((3, 2)))), (True, 3))
    array = mx.nd.array([1, 2, 3])
    for scalar in (np.float32(2), np.float64(2), np.int64(2), np.uint8(2)):
        equal(scalar * array, np.array([2, 4, 6], "float32"))
        equal(array - scalar, np.array([-1, 0, 1], "float32"))
        equal(scalar / array, (2 / np.array([1, 2, 3])).astype("float32"))
        equal(array > scalar, np.array([0, 0, 1], "float32"))
    array += np.float64(1)
    equal(array, np.array([2, 3, 4], "float32"))
    holds("[2. 3. 4.]" in str(array) and "NDArray 3 @cpu(0)" in repr(array), "an array can be written")


def _numpy_and_back() -> None:
    values = np.arange(6, dtype="float32").reshape(2, 3)
    array = mx.nd.array(values)
    equal(np.asarray(array), values)
    equal(np.array([array, array]), np.stack([values, values]))
    holds(np.all(array >= 0) and not np.any(array > 9) and np.allclose(array, values), "truths of whole arrays")
    equal(np.sum(array).asscalar(), np.float32(15))
    equal(np.argmax(array, axis=1), np.array([2, 2], "float32"))
    shared = mx.nd.from_numpy(values.copy(), zero_copy=True)
    equal(shared, values)
    capsule = mx.nd.from_dlpack(array.to_dlpack_for_read())
    equal(capsule, values)
    for order in (values.T, values[:, ::-1], values.astype(">f4")):
        equal(mx.nd.array(order), order.astype("float32"))
    make, arguments, state = array.__reduce__()  # what pickle does with it, but for the bytes
    again = make(*arguments)
    again.__setstate__(state)
    equal(again, values)
    equal(mx.nd.array([array.asnumpy()[0], [7, 8, 9]]), np.array([[0, 1, 2], [7, 8, 9]], "float32"))


def _files() -> None:
    arrays = [mx.nd.array([[1, 2], [3, 4]]), mx.nd.array([5], dtype="int64")]
    mx.nd.save("list.nd", arrays)
    for found, array in zip(mx.nd.load("list.nd"), arrays):
        equal(found, array)
    mx.nd.save("some.params", {"arg:a": arrays[0], "aux:b": arrays[1]})
    found = mx.nd.load("some.params")
    equal(sorted(found), ["arg:a", "aux:b"])
    equal(found["aux:b"], arrays[1])
    with open("some.params", "rb") as file:
        equal(mx.nd.load_frombuffer(file.read())["arg:a"], arrays[0])


def _dense() -> Any:
    values = np.zeros((4, 5), "float32")
    values[[0, 1, 1, 3], [1, 0, 4, 2]] = [1, 2, 3, 4]
    return values


def _scipy_matrices() -> None:
    import scipy.sparse

    for make in (mx.nd.array, mx.nd.sparse.array):
        array = make(scipy.sparse.csr_matrix(_dense()))
        equal(array.stype, "csr")
        equal(array.asnumpy(), _dense())
    matrix = mx.nd.sparse.csr_matrix(scipy.sparse.csr_matrix(_dense()))
    equal(matrix.asscipy().toarray(), _dense())
    placed = mx.nd.sparse.csr_matrix(([1.0, 2.0], ([0, 2], [1, 3])), shape=(3, 4)).asnumpy()
    equal((placed[0, 1], placed[2, 3], placed.sum()), (1.0, 2.0, 3.0))
    equal(mx.nd.sparse.dot(matrix, mx.nd.ones((5, 2))), _dense() @ np.ones((5, 2), "float32"))


def _sparse() -> None:
    values = _dense()
    matrix = mx.nd.sparse.csr_matrix(([1, 2, 3, 4], [1, 0, 4, 2], [0, 1, 3, 3, 4]), shape=(np.int64(4), 5))
    equal(matrix.asnumpy(), values)
    equal(matrix[1:3].asnumpy(), values[1:3])
    guessed = mx.nd.sparse.csr_matrix((np.array([1.0, 2]), np.array([0, 3]), np.array([0, 1, 2])))
    equal(guessed.shape, (2, 4))
    rows = mx.nd.sparse.row_sparse_array((np.ones((2, 3), "float32"), np.array([0, 2])), shape=(4, 3))
    equal(rows.asnumpy().sum(axis=1), np.array([3, 0, 3, 0], "float32"))
    equal(rows.indices.asnumpy(), np.array([0, 2]))
    equal(mx.nd.sparse.retain(rows, mx.nd.array([2])).asnumpy().sum(), np.float32(3))
    equal(mx.nd.array(values).tostype("row_sparse").tostype("default"), values)
    equal((matrix * 2).asnumpy(), values * 2)
    equal(mx.nd.sparse.dot(matrix, mx.nd.ones((4, 1)), transpose_a=True).asnumpy(), values.sum(0)[:, None])
    mx.nd.save("sparse.nd", {"m": matrix})
    equal(mx.nd.load("sparse.nd")["m"].asnumpy(), values)
    weight = mx.nd.ones((4, 3)).tostype("row_sparse")
    mx.optimizer.SGD(learning_rate=0.5).update(0, weight, rows, None)
    close(weight.asnumpy(), np.array([[0.5] * 3, [1] * 3, [0.5] * 3, [1] * 3]))
    store = mx.kv.create("local")
    store.init("w", weight)
    out = mx.nd.sparse.zeros("row_sparse", (4, 3))
    store.row_sparse_pull("w", out=out, row_ids=mx.nd.array([1, 3]))
    equal(out.asnumpy()[:, 0], np.array([0, 1, 0, 1], "float32"))


def _random() -> None:
    def drawn() -> Any:
        parts = [
            mx.nd.random.uniform(shape=(3,)), mx.nd.random.normal(shape=3), mx.nd.random.randint(0, 9, shape=(3,)),
            mx.np.random.uniform(size=(3,)), mx.np.random.normal(size=3), mx.nd.shuffle(mx.nd.arange(9)),
        ]  # fmt: skip
        return np.concatenate([as_numpy(part).ravel() for part in parts])

    mx.random.seed(np.int64(5).item())
    first = drawn()
    second = drawn()
    mx.random.seed(5)
    equal(drawn(), first)
    holds(not np.array_equal(first, second), "numbers go on")
    many = {
        "uniform": (mx.nd.random.uniform(1, 3, shape=20000), 2, 1 / 3),
        "normal": (mx.nd.random.normal(np.float32(1), np.float64(2), shape=20000), 1, 4),
        "gamma": (mx.nd.random.gamma(3, 2, shape=20000), 6, 12),
        "exponential": (mx.nd.random.exponential(2, shape=20000), 2, 4),
        "poisson": (mx.nd.random.poisson(4, shape=20000), 4, 4),
        "numpy": (mx.np.random.normal(1, 2, size=(20000,)), 1, 4),
    }
    for values, mean, variance in many.values():
        close(as_numpy(values).mean(), mean, 0.05)
        close(as_numpy(values).var(), variance, 0.1)
    shares = mx.nd.random.multinomial(mx.nd.array([0.2, 0.8]), shape=20000).asnumpy()
    close(shares.mean(), 0.8, 0.05)
    picked = mx.np.random.choice(5, size=(np.int64(100),)).asnumpy()
    equal(sorted(set(picked.tolist())), [0, 1, 2, 3, 4])


FEATURES = (
    Feature("indices of arrays", _indices),
    Feature("types of arrays, scalars of NumPy", _types),
    Feature("arrays to NumPy and back", _numpy_and_back),
    Feature("arrays in files", _files),
    Feature("sparse arrays", _sparse),
    Feature("sparse arrays of SciPy", _scipy_matrices, ("scipy",)),
    Feature("random numbers and seeds", _random),
)
