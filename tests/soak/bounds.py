"""Files that are sound in form and ask for much: sizes that are said and not there, and places that are elsewhere.

A reader that believed one would take some gigabytes at most, or find a marker.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import onnx

from tests.soak.mutations import NUMBERS, Random, choose

__all__ = ["archive", "array", "external", "jpeg", "json_values", "links_to", "strip", "table", "tiff"]

_SHAPES = ("(-1, 3, 16, 16)", "(2, -3, 16, 16)", "(99999999999999, 3, 16, 16)", "(0, 3, 16, 16)", "(2, 0)", "()")
_TYPES = ("'<f4'", "'|O'", "'<f4,<f4'", "[('a', '<f4')]", "'<U99999999'", "'<f9'", "1", "'<c8'")


def array(content: bytes, rng: Random) -> bytes:
    """Return a .npy file of another shape or type than it has values for, or an archive by that name."""
    if rng.rand() < 0.1:
        written = io.BytesIO()
        np.savez(written, data=np.zeros(3, np.float32))
        return written.getvalue()
    shape = choose(rng, (*_SHAPES, f"({abs(choose(rng, NUMBERS))}, 3, 16, 16)", "(" + "1, " * 60 + ")"))
    text = f"{{'descr': {choose(rng, _TYPES)}, 'fortran_order': {choose(rng, (True, False))}, 'shape': {shape}, }}"
    if rng.rand() < 0.1:
        text = choose(rng, ("(" * 9000, "{" + " " * 60_000 + "}", text * 2, text.replace("descr", "shape")))
    length = len(text) if rng.rand() < 0.9 else choose(rng, (0, 3, 65535))
    return b"\x93NUMPY\1\0" + struct.pack("<H", length) + text.encode() + content[128:]


def archive(content: bytes, rng: Random) -> bytes:
    """Return a .npz file with such an array, or with members that nobody asks for, packed in other ways."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as new:
        data = old.read("data.npy")
        kind = rng.randint(4)
        if kind == 0:
            new.writestr("names.npy", b"no array")
            new.writestr("large.npy", bytes(1 << 24))
        new.writestr("data.npy", array(data, rng) if kind == 1 else data, zipfile.ZIP_BZIP2 if kind == 2 else None)
    found = written.getvalue()
    if kind == 3:
        # The size that the directory at the end says the member unfolds to.
        at = found.rindex(b"PK\1\2") + 24
        found = found[:at] + struct.pack("<I", int(choose(rng, (0, 1, 2**20, 2**32 - 2)))) + found[at + 4 :]
    return found


def table(content: bytes, rng: Random) -> bytes:
    """Return statistics that unfold to many times their size, or that say so of their bins."""
    with np.load(io.BytesIO(content)) as members:
        arrays = {name: members[name] for name in members.files}
    name = choose(rng, ("counts", "sums", "bins", "header", "other"))
    if rng.rand() < 0.5:
        arrays[name] = np.zeros(1 << 27, np.uint8)
    else:
        arrays["bins"][:, 2] += choose(rng, (2**62, -1, 2**31))
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    return written.getvalue()


def json_values(content: bytes, rng: Random) -> bytes:
    """Return JSON that has a list of very many lists, or thousands of names of which one stands twice."""
    document = json.loads(content)
    if rng.rand() < 0.5:
        return b'{"a": [' + b"[]," * choose(rng, (1000, 5_000_000)) + b"0], " + content.lstrip()[1:]
    names = ", ".join(f'"name{number}": 0' for number in range(20_000))
    return f'{{"first": {json.dumps(document)}, {names}, "name19999": 1}}'.encode()


def strip(content: bytes, rng: Random) -> bytes:
    """Return a PNG of one pixel by some thousand, or the other way round."""
    length = choose(rng, (5000, 20_000, 100_000))
    width, height = choose(rng, ((length, 1), (1, length), (length, 3)))
    pixels = (b"\0" + bytes(rng.randint(0, 256, 3).astype(np.uint8)) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    if rng.rand() < 0.2:
        chunks = ((b"cHRM", bytes(32)), *chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def jpeg(content: bytes, rng: Random) -> bytes:
    """Return a JPEG with something before its frame that decoders pass over, or another size in it."""
    frame = content.index(b"\xff\xc0")
    if rng.rand() < 0.5:
        odd = choose(
            rng, (b"\xff\0", b"\xff\xe0\0\1", b"x", b"\xff\xda\0\2", b"\xff\xff\xff", b"\xff\xd8", b"\xff\xc8\0\2")
        )
        return content[:frame] + odd + content[frame:]
    sides = struct.pack(">HH", *(int(choose(rng, (0, 1, 37, 16_000, 65_535))) for _ in range(2)))
    return content[: frame + 5] + sides + content[frame + 9 :]


def tiff(content: bytes, rng: Random) -> bytes:
    """Return a TIFF whose directory says other sides, of other types, or is elsewhere."""
    (place,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, place)
    at = place + 2 + 12 * int(rng.randint(count))
    if rng.rand() < 0.2:
        return content[:4] + struct.pack("<I", int(choose(rng, (0, 7, 2**31, 2**32 - 1)))) + content[8:]
    tag = int(choose(rng, (*struct.unpack_from("<H", content, at), 256, 257)))
    entry = struct.pack("<HHII", tag, choose(rng, (3, 4, 5, 11)), choose(rng, (1, 2, 2**31)), _number(rng))
    return content[:at] + entry + content[at + 12 :]


def _number(rng: Random) -> int:
    return int(choose(rng, (0, 1, 20, 24, 50_000, 2**31, 2**32 - 1)))


def external(content: bytes, rng: Random) -> bytes:
    """Return a model whose values are said to be in other places, or in the same one very often."""
    model = onnx.load_from_string(content)
    tensors = [each for each in model.graph.initializer if each.external_data]
    if rng.rand() < 0.2:
        for _ in range(200):
            model.graph.initializer.add().CopyFrom(tensors[0])
            model.graph.initializer[-1].name = f"more{len(model.graph.initializer)}"
        return model.SerializeToString()
    entries = choose(rng, tensors).external_data
    key = choose(rng, ("location", "offset", "length", "checksum", "mode", "basepath", "\x1b[31m"))
    value = choose(rng, ("../marker", "hard", "link", "fifo", "external.bin", "folder", "0", "8", "-1", "9" * 30, ""))
    same = next((each for each in entries if each.key == key), None)
    if same is None or rng.rand() < 0.4:
        entries.add(key=key, value=value)
    else:
        same.value = value
    return model.SerializeToString()


def links_to(marker: Path, folder: Path) -> None:
    """Put names into a folder that are no files of its own."""
    os.link(str(marker), str(folder / "hard"))
    (folder / "link").symlink_to(marker)
    (folder / "folder").symlink_to(folder)
    os.mkfifo(str(folder / "fifo"))
