"""Cases of operators of mx.np, most of which keep a name of their own; data and results are those of mx.nd."""

from __future__ import annotations

from mxquant.runtime.mxnet import mx
from tests.onnx_export.cases.parts import IMAGE, Cases

sym = mx.sym
# From data to a result of mx.np.
NETWORKS: Cases = {
    "_npi_add": (IMAGE, lambda x: x + sym.np.mean(x, axis=(2, 3), keepdims=True)),
    "_npi_add with fewer dimensions": (IMAGE, lambda x: x + sym.np.mean(x, axis=(0, 1))),
    "_npi_subtract": (IMAGE, lambda x: x - sym.np.exp(x)),
    "_npi_multiply": (IMAGE, lambda x: x * sym.np.exp(x)),
    "_npi_true_divide": (IMAGE, lambda x: x / sym.np.exp(x)),
    "_npi_matmul": (IMAGE, lambda x: sym.np.matmul(x, sym.np.swapaxes(x, 2, 3))),
    **{f"_npi_{op}": (IMAGE, lambda x, op=op: getattr(sym.np, op)(x)) for op in ("exp", "tanh", "absolute", "square")},
    "_npi_sqrt": (IMAGE, lambda x: sym.np.sqrt(sym.np.exp(x))),
    "_npi_add_scalar": (IMAGE, lambda x: x + 2),
    "_npi_subtract_scalar": (IMAGE, lambda x: x - 2),
    "_npi_rsubtract_scalar": (IMAGE, lambda x: 2 - x),
    "_npi_multiply_scalar": (IMAGE, lambda x: x * 3),
    "_npi_true_divide_scalar": (IMAGE, lambda x: x / 3),
    "_npi_rtrue_divide_scalar": (IMAGE, lambda x: 3 / sym.np.exp(x)),
    "_npi_power_scalar": (IMAGE, lambda x: x**2),
    "_npi_mean of all numbers": (IMAGE, lambda x: sym.np.mean(x)),
    "_np_sum of all numbers": (IMAGE, lambda x: sym.np.sum(x) + x),
    "_npi_mean": (IMAGE, lambda x: sym.np.mean(x, axis=(2, 3))),
    "_np_sum": (IMAGE, lambda x: sym.np.sum(x, axis=-1, keepdims=True)),
    "_np_max": (IMAGE, lambda x: sym.np.max(x, axis=1)),
    "_np_min": (IMAGE, lambda x: sym.np.min(x, axis=1)),
    "_np_squeeze": (IMAGE, lambda x: sym.np.squeeze(sym.np.mean(x, axis=1, keepdims=True), axis=1)),
    "_np_reshape": (IMAGE, lambda x: sym.np.reshape(x, (-1, 40, 9))),
    "_npx_reshape": (IMAGE, lambda x: sym.npx.reshape(x, (-2, -5, -2))),
    "_np_transpose": (IMAGE, lambda x: sym.np.transpose(x, (0, 2, 3, 1))),
    "Concat of mx.np": (IMAGE, lambda x: sym.np.concatenate([x, sym.npx.relu(x), sym.npx.sigmoid(x)], axis=-1)),
}
CASES: Cases = {
    name: (shape, lambda x, f=f: f(x.as_np_ndarray()).as_nd_ndarray()) for name, (shape, f) in NETWORKS.items()
}
