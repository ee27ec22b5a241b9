"""Cases of arithmetic that ONNX has in another form: remainders, logarithms, rounding, and, or, not."""

from __future__ import annotations

from mxquant.runtime.mxnet import mx
from tests.onnx_export.cases.parts import IMAGE, Cases, whole_numbers

sym = mx.sym
CASES: Cases = {
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(sym.abs(x) + 1)) for op in ("log2", "log10")},
    "rsqrt": (IMAGE, lambda x: sym.rsqrt(sym.abs(x) + 0.1)),
    "broadcast_mod": (IMAGE, lambda x: sym.broadcast_mod(x * 9, sym.floor(sym.slice_axis(x, axis=1, begin=0, end=1)))),
    "broadcast_mod of whole numbers": (
        IMAGE,
        lambda x: sym.broadcast_mod(whole_numbers(x), whole_numbers(sym.slice_axis(x, axis=3, begin=0, end=1))),
    ),
    "_mod": (IMAGE, lambda x: x * 9 % sym.floor(x)),
    "_mod_scalar": (IMAGE, lambda x: x * 9 % -2.5),
    "_mod_scalar of whole numbers": (IMAGE, lambda x: whole_numbers(x) % 4),
    "_mod_scalar by nothing": (IMAGE, lambda x: x % 0),
    **{f"{op}": (IMAGE, lambda x, op=op: getattr(sym, op)(x * 2.5)) for op in ("trunc", "fix")},
    "round": (IMAGE, lambda x: sym.round(sym.floor(x * 6) / 2)),
    "logical_not": (IMAGE, lambda x: sym.logical_not(x)),
    **{
        f"broadcast_logical_{op}": (
            IMAGE,
            lambda x, op=op: getattr(sym, f"broadcast_logical_{op}")(x > 0.2, sym.floor(x)),
        )
        for op in ("and", "or", "xor")
    },
    **{
        f"_logical_{op}_scalar": (
            IMAGE,
            lambda x, op=op: getattr(sym._internal, f"_logical_{op}_scalar")(sym.floor(x), scalar=1.0),
        )
        for op in ("and", "or", "xor")
    },
}
