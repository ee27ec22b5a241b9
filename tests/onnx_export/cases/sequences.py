"""Cases of networks of text: attention, masks by length, and what numbers and shapes they are made from."""

from __future__ import annotations

import operator
from typing import Any, Callable, Dict, Tuple

from mxquant.runtime.mxnet import mx
from tests.onnx_export.cases.parts import IMAGE, ROW, SENTENCE, Cases, lengths, whole_numbers

sym = mx.sym
COMPARISONS: Dict[str, Callable[[Any, Any], Any]] = {
    **{"lesser": operator.lt, "greater": operator.gt, "lesser_equal": operator.le, "greater_equal": operator.ge},
    **{"equal": operator.eq, "not_equal": operator.ne},
}


def _across(x: Any) -> Tuple[Any, Any]:
    """Return attention from short queries to keys, and the keys with their values."""
    pairs = sym.transpose(x, (1, 0, 2))
    queries = sym.slice(pairs, begin=(0, None, 0), end=(3, None, 12))
    return sym.contrib.interleaved_matmul_encdec_qk(queries, pairs, heads=2), pairs


CASES: Cases = {
    "_contrib_interleaved_matmul_selfatt_qk": (
        *(SENTENCE, lambda x: sym.contrib.interleaved_matmul_selfatt_qk(sym.transpose(x, (1, 0, 2)), heads=2)),
    ),
    "_contrib_interleaved_matmul_selfatt_valatt": (
        SENTENCE,
        lambda x: sym.contrib.interleaved_matmul_selfatt_valatt(
            sym.transpose(x, (1, 0, 2)),
            sym.contrib.interleaved_matmul_selfatt_qk(sym.transpose(x, (1, 0, 2)), heads=2),
            heads=2,
        ),
    ),
    "_contrib_interleaved_matmul_encdec_qk": (SENTENCE, lambda x: _across(x)[0]),
    "_contrib_interleaved_matmul_encdec_valatt": (
        SENTENCE,
        lambda x: sym.contrib.interleaved_matmul_encdec_valatt(*_across(x)[::-1], heads=2),
    ),
    "_contrib_div_sqrt_dim": (ROW, lambda x: sym.contrib.div_sqrt_dim(x)),
    "_contrib_arange_like": (
        ROW,
        lambda x: sym.broadcast_add(x, sym.expand_dims(sym.contrib.arange_like(x, start=2, step=0.5, axis=1), axis=0)),
    ),
    "_contrib_arange_like of images": (
        *(ROW, lambda x: sym.broadcast_mul(x, sym.expand_dims(sym.contrib.arange_like(x, 2, 0.5, axis=0), axis=1))),
    ),
    **{
        f"broadcast_{op}": (IMAGE, lambda x, op=op: getattr(sym, f"broadcast_{op}")(x, sym.floor(x) * 0.5))
        for op in COMPARISONS
    },
    **{f"_{op}_scalar": (IMAGE, lambda x, op=op: COMPARISONS[op](sym.floor(x), 1)) for op in COMPARISONS},
    "where": (IMAGE, lambda x: sym.where(x > 0.2, x, sym.exp(x))),
    "where that chooses rows": (ROW, lambda x: sym.where(sym.mean(x, axis=1) > 0, x, x + 1)),
    "zeros_like": (IMAGE, lambda x: sym.zeros_like(x)),
    "zeros_like of whole numbers": (IMAGE, lambda x: sym.concat(sym.zeros_like(whole_numbers(x)), whole_numbers(x))),
    "ones_like": (IMAGE, lambda x: sym.ones_like(x) * x),
    "broadcast_axis": (IMAGE, lambda x: sym.broadcast_axis(sym.mean(x, axis=(1, 3), keepdims=True), (1, 3), (4, 2))),
    "broadcast_to": (IMAGE, lambda x: sym.broadcast_to(sym.mean(x, axis=(1, 3), keepdims=True), shape=(0, 4, 0, 2))),
    "broadcast_like": (IMAGE, lambda x: sym.broadcast_like(sym.mean(x, axis=(1, 3), keepdims=True), x)),
    "broadcast_like of some axes": (
        IMAGE,
        lambda x: sym.broadcast_like(
            sym.mean(x, axis=(0, 2), keepdims=True), sym.transpose(x), lhs_axes=(0, -2), rhs_axes=(3, 1)
        ),
    ),
    "_greater_scalar of whole numbers": (IMAGE, lambda x: whole_numbers(x) > 1),
    "broadcast_equal of whole numbers": (IMAGE, lambda x: sym.broadcast_equal(whole_numbers(x), whole_numbers(x * x))),
    "Cast": (ROW, lambda x: sym.cast(sym.cast(x * 9, dtype="int32"), dtype="float32")),
    "stack": (IMAGE, lambda x: sym.stack(x, sym.relu(x), axis=-2)),
    "SequenceMask": (
        SENTENCE,
        lambda x: sym.SequenceMask(
            sym.transpose(x, (1, 0, 2)), lengths(sym.sum(x, axis=(1, 2)), 5), use_sequence_length=True, value=0.5
        ),
    ),
    "SequenceMask of axis 1": (
        SENTENCE,
        lambda x: sym.SequenceMask(x, lengths(sym.sum(x, axis=(1, 2)), 5), use_sequence_length=True, axis=1),
    ),
    "SequenceMask of images": (
        IMAGE,
        lambda x: sym.SequenceMask(x, lengths(sym.sum(x, axis=(1, 2, 3)), 5), use_sequence_length=True, axis=1),
    ),
    "SequenceMask without lengths": (SENTENCE, lambda x: sym.SequenceMask(x) * 2),
}
