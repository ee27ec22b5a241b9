"""Damage: to bytes of any kind, and to JSON that stays JSON."""

from __future__ import annotations

import json
from typing import Any, Callable, List, Tuple

import numpy as np

Random = np.random.RandomState

# Where things break: ends of types, signs, and what is too much.
POWERS = [2**exponent for exponent in (1, 7, 8, 15, 16, 31, 32, 40, 60, 63)]
NUMBERS = (0, 1, -1, 3, -(2**31), *POWERS, *(power - 1 for power in POWERS))
TEXTS = (
    *("None", "null", "0", "-1", "(0,0)", "(-1,1)", "(1000000,1000000)", "()", "nan", "inf", "1e999", "True", "data"),
    *("", "../../etc/passwd", "\u0000", "\u00fc", "9" * 400, "(" * 2000, "x" * 5000),
)

# What attributes of layers are, and could be.
VALUES = (
    "0",
    "1",
    "-1",
    "2147483647",
    "-2147483648",
    "4294967296",
    "100000",
    "()",
    "(0,)",
    "(0, 0)",
    "(1, 1)",
    "(3, 3)",
)
VALUES += ("(2, 2)", "(-1, -1)", "(100000, 100000)", "(2147483647, 2147483647)", "(3, 3, 3)", "(3,)", "True", "False")
VALUES += (
    "max",
    "avg",
    "sum",
    "lp",
    "relu",
    "None",
    "nan",
    "1e-30",
    "NHWC",
    "full",
    "uint8",
    "int8",
    "auto",
    "float16",
)
OPERATORS = (
    "Convolution",
    "Deconvolution",
    "FullyConnected",
    "Pooling",
    "Concat",
    "BatchNorm",
    "Activation",
    "LeakyReLU",
)
OPERATORS += (
    "Reshape",
    "Flatten",
    "transpose",
    "slice",
    "slice_axis",
    "SliceChannel",
    "Pad",
    "UpSampling",
    "Embedding",
)
OPERATORS += (
    "take",
    "softmax",
    "LRN",
    "InstanceNorm",
    "LayerNorm",
    "ROIPooling",
    "Custom",
    "RNN",
    "SoftmaxOutput",
    "dot",
)
OPERATORS += (
    "batch_dot",
    "elemwise_add",
    "broadcast_mul",
    "mean",
    "squeeze",
    "tile",
    "repeat",
    "topk",
    "_zeros",
    "_arange",
)
OPERATORS += ("one_hot", "expand_dims", "depth_to_space", "_contrib_BilinearResize2D", "_contrib_AdaptiveAvgPooling2D")
OPERATORS += (
    "_contrib_quantize_v2",
    "_contrib_requantize",
    "_contrib_dequantize",
    "_contrib_quantized_conv",
    "_foreach",
)
OPERATORS += (
    "_contrib_quantized_pooling",
    "_contrib_quantized_concat",
    "_contrib_quantized_elemwise_add",
    "GridGenerator",
)


def choose(rng: Random, items: Any) -> Any:
    return items[rng.randint(len(items))]


def damage_bytes(content: bytes, rng: Random) -> bytes:
    """Return a file's content after one to three accidents."""
    for _ in range(rng.randint(1, 4)):
        content = choose(rng, _ACCIDENTS)(content, rng)
    return content


def _place(content: bytes, rng: Random) -> int:
    """Return a position, as often in the first hundred bytes as in all others, for headers are there."""
    return int(rng.randint(min(len(content), 100) or 1) if rng.rand() < 0.5 else rng.randint(len(content) or 1))


def _flip(content: bytes, rng: Random) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(rng.randint(1, 9)):
        changed[_place(changed, rng)] ^= 1 << rng.randint(8)
    return bytes(changed)


def _cut(content: bytes, rng: Random) -> bytes:
    return content[: rng.randint(len(content) + 1)]


def _insert(content: bytes, rng: Random) -> bytes:
    at = _place(content, rng)
    return content[:at] + rng.bytes(rng.randint(1, 64)) + content[at:]


def _delete(content: bytes, rng: Random) -> bytes:
    at = _place(content, rng)
    return content[:at] + content[at + rng.randint(1, 64) :]


def _repeat(content: bytes, rng: Random) -> bytes:
    at, size = _place(content, rng), rng.randint(1, 4096)
    return content[: at + size] + content[at:]


def _number(content: bytes, rng: Random) -> bytes:
    at, size = _place(content, rng) // 4 * 4, choose(rng, (1, 2, 4, 8))
    value = int(choose(rng, NUMBERS)) % (1 << 8 * size)
    return content[:at] + value.to_bytes(size, choose(rng, ("little", "big"))) + content[at + size :]


def _zeros(content: bytes, rng: Random) -> bytes:
    at, size = _place(content, rng), rng.randint(1, 256)
    return content[:at] + bytes(size) + content[at + size :]


def _twice(content: bytes, rng: Random) -> bytes:
    return content + content


_ACCIDENTS: Tuple[Callable[[bytes, Random], bytes], ...]
_ACCIDENTS = (_flip, _flip, _cut, _insert, _delete, _repeat, _number, _number, _number, _zeros, _twice)


def damage_json(content: bytes, rng: Random) -> bytes:
    """Return JSON after one to three changes of what it says; rarely, JSON that is made to harm."""
    if rng.rand() < 0.02:
        return choose(rng, _MEANT)(rng)
    document = json.loads(content)
    for _ in range(rng.randint(1, 4)):
        _change(document, rng)
    return json.dumps(document).encode()


def damage_attributes(content: bytes, rng: Random) -> bytes:
    """Return a symbol in which attributes of operators are others, of the right form, or an operator is another one."""
    document = json.loads(content)
    graphs = [document, *(inner for node in document["nodes"] for inner in node.get("subgraphs", []))]
    for _ in range(rng.randint(1, 4)):
        node = choose(rng, [node for graph in graphs for node in graph["nodes"] if node["op"] != "null"])
        attrs = node.setdefault("attr" if "attr" in node else "attrs", {})
        kind = rng.randint(5)
        if kind == 0:
            node["op"] = choose(rng, OPERATORS)
        elif kind == 1 and attrs:
            del attrs[choose(rng, sorted(attrs))]
        elif attrs:
            attrs[choose(rng, sorted(attrs))] = choose(rng, VALUES)
        else:
            attrs[choose(rng, ("num_filter", "kernel", "axis", "num_args", "act_type"))] = choose(rng, VALUES)
    return json.dumps(document).encode()


def _nested(rng: Random) -> bytes:
    return b'{"nodes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def _digits(rng: Random) -> bytes:
    return b'{"format": "mxquant-plan", "version": ' + b"7" * 1_000_000 + b"}"


_MEANT = (_nested, _digits)


def _change(document: Any, rng: Random) -> None:
    """Change one place of a document, at any depth alike."""
    places = _places(document)
    if not places:
        return
    parent, key = choose(rng, places)
    kind = rng.randint(7)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, list):
        parent.insert(rng.randint(len(parent) + 1), parent[key])
    elif kind == 2:
        other, place = choose(rng, places)
        parent[key] = json.loads(json.dumps(other[place]))
    else:
        parent[key] = _hostile(parent[key], rng)


def _hostile(value: Any, rng: Random) -> Any:
    if rng.rand() < 0.2:
        return choose(rng, (None, True, [], {}, [[]], 1.5, -0.0, float("nan"), float("inf"), "text", 1))
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, (int, float)):
        return choose(rng, (*NUMBERS, value + 1, value - 1, -value, value * 2, 10**400))
    if isinstance(value, str):
        return choose(rng, (*TEXTS, value + "x", str(choose(rng, NUMBERS)), value[: len(value) // 2]))
    return choose(rng, (None, [], {}, 0, "text"))


def _places(document: Any) -> List[Tuple[Any, Any]]:
    found: List[Tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        here = waiting.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here)) if isinstance(here, list) else ()
        for key in keys:
            found.append((here, key))
            waiting.append(here[key])
    return found
