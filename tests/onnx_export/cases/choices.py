"""Cases of operators that choose: the largest values and their places, and what is at given places."""

from __future__ import annotations

from mxquant.runtime.mxnet import mx
from tests.onnx_export.cases.parts import IMAGE, Cases, all_outputs

sym = mx.sym
CASES: Cases = {
    **{
        f"topk {', '.join(f'{key}={value}' for key, value in options.items())}": (
            IMAGE,
            lambda x, options=options: all_outputs(sym.topk(x, **options)),
        )
        for options in (
            {"k": 3},
            {"k": 3, "ret_typ": "value", "axis": 1},
            {"k": 2, "ret_typ": "both", "is_ascend": True, "axis": 2, "dtype": "int32"},
            {"k": 4, "ret_typ": "mask", "axis": 1},
            {"k": 5, "ret_typ": "mask", "axis": None},
            {"k": 700, "ret_typ": "both", "axis": None},
            {"k": 0, "axis": -2},
        )
    },
    "topk of many": ((2, 6000), lambda x: all_outputs(sym.topk(x, k=5000, ret_typ="both"))),
    "sort": (IMAGE, lambda x: sym.sort(x, axis=1)),
    "sort of all, the largest first": (IMAGE, lambda x: sym.sort(x, axis=None, is_ascend=False)),
    "argsort": (IMAGE, lambda x: sym.argsort(x)),
    "argsort of whole numbers": (IMAGE, lambda x: sym.argsort(x, axis=0, is_ascend=False, dtype="int32")),
    **{
        f"{op} {', '.join(f'{key}={value}' for key, value in options.items())}": (
            IMAGE,
            lambda x, op=op, options=options: getattr(sym, op)(x, **options),
        )
        for op in ("argmax", "argmin")
        for options in ({"axis": 1}, {"axis": -1, "keepdims": True}, {}, {"keepdims": True})
    },
    "argmax_channel": ((3, 7, 2), lambda x: sym.argmax_channel(x)),
    "gather_nd": (
        IMAGE,
        lambda x: sym.gather_nd(
            x, sym.stack(*(sym.argmax(sym.slice_axis(x, axis=2, begin=i, end=i + 1), axis=3) % 2 for i in (0, 1, 2)))
        ),
    ),
    "take": (IMAGE, lambda x: sym.take(x, sym.floor(sym.slice(x, (0, 0, 0, 0), (1, 2, 3, 4)) * 3), axis=2)),
    "take around": (
        *(IMAGE, lambda x: sym.take(x, sym.floor(sym.slice_axis(x, axis=3, begin=0, end=1) * 9), axis=-1, mode="wrap")),
    ),
}
