"""Formats: how a sound file is damaged, and how mxquant reads what comes of it, up to a forward pass."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Tuple

import numpy as np
import onnx

import mxquant
from mxquant.accuracy.mixed_precision import FORMAT, search
from mxquant.datasets import ArrayFile, Preprocessing, RecordFile
from mxquant.datasets.arrays import read_arrays
from mxquant.datasets.images import read_files
from mxquant.datasets.preprocessing import batches_of
from mxquant.datasets.records import read_record
from mxquant.files.params_file import read_params_file, write_params_file
from mxquant.model import inputs_of, load_checkpoint
from mxquant.plan import tables
from mxquant.runtime.mxnet import mx
from mxquant.runtime.mxnet_bridge import graph_of
from tests.soak.bounds import archive, array, external, jpeg, json_values, strip, table, tiff
from tests.soak.material import DATA, SIDE, network
from tests.soak.mutations import NUMBERS, TEXTS, Random, choose, damage_attributes, damage_bytes, damage_json

Damage = Callable[[bytes, Random], bytes]


class Format(NamedTuple):
    """A format.

    Parameters
    ----------
    file : str
        The sound file of it.
    damages : tuple of callable
        From content to damaged content; one of them is taken.
    read : callable
        Reads the damaged file, which has the sound one's name and sound files of its network beside it.
    beside : tuple of str
        Which ones.
    exact : bool
        Whether any change has to be noticed, since files carry digests of each other.
    links : bool
        Whether there are links and a FIFO beside it, to which the file may refer.
    """

    file: str
    damages: Tuple[Damage, ...]
    read: Callable[[Path], Any]
    beside: Tuple[str, ...] = ()
    exact: bool = False
    links: bool = False


def _params(content: bytes, rng: Random) -> bytes:
    """Return parameters of which some are other arrays than they should be, in a sound file."""
    here = Path(".") / "sound.params"
    here.write_bytes(content)
    arrays = read_params_file(here)
    for _ in range(rng.randint(1, 4)):
        name = choose(rng, list(arrays))
        if rng.rand() < 0.2:
            del arrays[name]
            arrays[choose(rng, ("", "arg:", "x", "compact:int8:y", "aux:data", name + "x"))] = np.ones((3, 1), np.int8)
        else:
            arrays[name] = _array(arrays[name], rng)
    write_params_file(here, arrays)
    return here.read_bytes()


def _array(value: np.ndarray, rng: Random) -> np.ndarray:
    kind = rng.randint(6)
    if kind == 0:
        return value.astype(choose(rng, ("float16", "float64", "int8", "uint8", "int32", "int64", "bool")))
    if kind == 1:
        return value.reshape(choose(rng, ((-1,), (1, -1), (-1, 1), (1, 1, -1, 1), value.shape[::-1])))
    if kind == 2:
        return np.resize(value, choose(rng, ((1,), (3, 3), (1,) * 7, (1, 2, 3, 4), (value.size + 1,))))
    changed = value.copy()
    number = choose(rng, (np.nan, np.inf, -np.inf, 3e38, 1e-45, -1, 0))
    with np.errstate(all="ignore"):
        changed.reshape(-1)[rng.randint(changed.size) :] = np.array(number).astype(value.dtype)
    return changed


def _statistics(content: bytes, rng: Random) -> bytes:
    """Return a table of which one member is another array, with sound checksums; rarely, one that grows."""
    with np.load(io.BytesIO(content)) as members:
        arrays = {name: members[name] for name in members.files}
    name = choose(rng, sorted(arrays))
    if rng.rand() < 0.02:
        arrays[name] = np.zeros(1 << 28, np.uint8)
    elif name == "header" and rng.rand() < 0.8:
        arrays[name] = np.frombuffer(damage_json(arrays[name].tobytes(), rng), np.uint8)
    else:
        changed = arrays[name].copy()
        with np.errstate(all="ignore"):
            number = np.array(float(choose(rng, NUMBERS))).astype(changed.dtype)
        changed.reshape(-1)[rng.randint(max(changed.size, 1)) :][: rng.randint(1, 4)] = number
        arrays[name] = changed if rng.rand() < 0.7 else _array(changed, rng)
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    return written.getvalue()


def _zip(content: bytes, rng: Random) -> bytes:
    """Return an archive with another member, or with a member's bytes damaged under a sound checksum."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, damage_bytes(data, rng) if rng.rand() < 0.3 else data)
        new.writestr(choose(rng, ("../escaped.npy", "/tmp/escaped.npy", "header", "counts.npy/", "x" * 300)), b"harm")
    return written.getvalue()


def _onnx(content: bytes, rng: Random) -> bytes:
    """Return a model of which one to three fields are changed."""
    model = onnx.load_from_string(content)
    for _ in range(rng.randint(1, 4)):
        _change_model(model.graph, rng)
    return model.SerializeToString()


def _change_model(graph: Any, rng: Random) -> None:
    kind = rng.randint(6)
    node, tensor = choose(rng, graph.node), choose(rng, graph.initializer)
    if kind == 0 and node.attribute:
        attribute = choose(rng, node.attribute)
        number = int(choose(rng, [each for each in NUMBERS if -(2**63) <= each < 2**63]))
        attribute.i = number
        if attribute.ints:
            attribute.ints[rng.randint(len(attribute.ints))] = number
        if rng.rand() < 0.3:
            attribute.ints.append(number)
    elif kind == 1:
        del tensor.dims[rng.randint(len(tensor.dims) or 1) :]
        tensor.dims.append(int(choose(rng, (0, 1, 3, 2**40, 2**62, -1))))
    elif kind == 2 and node.input:
        names = [name for each in graph.node for name in (*each.input, *each.output)]
        node.input[rng.randint(len(node.input))] = choose(rng, names)
    elif kind == 3:
        node.op_type = choose(rng, ("Add", "Mul", "Concat", "Reshape", "Slice", "Gather", "Split", "Pad", "If"))
    elif kind == 4:
        tensor.data_type = int(choose(rng, (0, 1, 6, 7, 8, 10, 11, 16, 99)))
    else:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        place = choose(rng, ("../secret", "/etc/passwd", "external.bin", "link", "", ".", "external.bin/x", *TEXTS[:3]))
        tensor.external_data.add(key="location", value=place)
        for key in ("offset", "length"):
            tensor.external_data.add(key=key, value=str(choose(rng, NUMBERS)))


def _text(content: bytes, rng: Random) -> bytes:
    lines = content.decode().splitlines()
    at = rng.randint(len(lines))
    lines[at] = choose(rng, (lines[at] + "0", lines[at].partition(":")[0], *(f"data: {text}" for text in TEXTS)))
    return "\n".join(lines).encode()


def _png_size(content: bytes, rng: Random) -> bytes:
    """Return a PNG that says it has other sides, with a sound checksum."""
    import zlib

    sides = b"".join(int(choose(rng, NUMBERS)).__mod__(1 << 32).to_bytes(4, "big") for _ in range(2))
    header = b"IHDR" + sides + content[24:29]
    return content[:12] + header + zlib.crc32(header).to_bytes(4, "big") + content[33:]


def _read_network(path: Path) -> None:
    mxquant.make_plan(str(path.with_name("net")), None, method=None)
    mxquant.calibrate(str(path.with_name("net")), DATA)


def _read_symbol(path: Path) -> None:
    path.replace(path.with_name("net-symbol.json"))
    _read_network(path)


def _read_int8(path: Path) -> None:
    model = mxquant.load(str(path.with_name(path.name.partition("-")[0])))
    model.as_block()(mx.nd.array(DATA)).wait_to_read()


def _read_int8_symbol(path: Path) -> None:
    """Read without the plan's digests, which would refuse any change. What is changed is not run: only MXNet would."""
    symbol, args, aux = load_checkpoint(str(path.with_name("int8")))
    inputs_of(graph_of(symbol), {**args, **aux})


def _read_int8_params(path: Path) -> None:
    """Read without the plan's digests; that MXNet refuses to run it is fine too."""
    symbol, args, aux = load_checkpoint(str(path.with_name(path.name.partition("-")[0])))
    with suppress(mx.MXNetError, ValueError):
        args["data"] = mx.nd.array(DATA)
        symbol.bind(mx.cpu(), args, aux_states=aux, grad_req="null").forward()[0].asnumpy()


def _read_plan(path: Path) -> None:
    symbol, args, aux = network()
    plan = mxquant.QuantPlan.load(path)
    mxquant.lower(symbol, plan, arg_params=args, aux_params=aux)


def _read_statistics(path: Path) -> None:
    symbol, args, aux = network()
    found = mxquant.Statistics.load(path)
    mxquant.make_plan(symbol, found, arg_params=args, aux_params=aux, method=choose(Random(0), ("entropy", "minmax")))


def _read_table(read: Callable[[Path], Dict[str, float]]) -> Callable[[Path], None]:
    def use(path: Path) -> None:
        symbol, args, aux = network()
        statistics = mxquant.Statistics.load(path.with_name("statistics.npz"))
        mxquant.make_plan(symbol, statistics, arg_params=args, aux_params=aux, largest_values=read(path))

    return use


def _read_onnx(path: Path) -> None:
    symbol, args, aux = mxquant.from_onnx(path)
    mxquant.calibrate(symbol, DATA, arg_params=args, aux_params=aux)


def _read_image(path: Path) -> None:
    list(batches_of(read_files([(path, None)]), Preprocessing(SIDE), [2]))


def _read_record(path: Path) -> None:
    list(batches_of(read_record(str(path)), Preprocessing(SIDE), [2, 2]))
    list(RecordFile.of(str(path), Preprocessing(SIDE)))


def _read_arrays(path: Path) -> None:
    for batch in read_arrays(path, ["data"]).batches(1):
        np.asarray(batch[0], np.float32).sum()
    list(ArrayFile.of(str(path)))


def _read_trials(path: Path) -> None:
    search(lambda names: 1.0, 2.0, {"conv1": 1.0}, {"conv1": 1.0}, key="k", checkpoint=path)


_NET = ("net-symbol.json", "net-0000.params")
FORMATS = (
    Format("net-symbol.json", (damage_json, damage_attributes, damage_attributes, damage_bytes), _read_network, _NET),
    Format("old-symbol.json", (damage_json, damage_attributes, damage_bytes), _read_symbol, _NET),
    Format("net-0000.params", (damage_bytes, _params), _read_network, _NET),
    Format("int8-symbol.json", (damage_json, damage_bytes), _read_int8, ("int8-0000.params", "int8-plan.json"), True),
    Format("int8-0000.params", (damage_bytes, _params), _read_int8, ("int8-symbol.json", "int8-plan.json"), True),
    Format("int8-symbol.json", (damage_json, damage_attributes), _read_int8_symbol, ("int8-0000.params",)),
    Format("int8-0000.params", (damage_bytes, _params), _read_int8_params, ("int8-symbol.json",)),
    Format("compact-0000.params", (damage_bytes, _params), _read_int8_params, ("compact-symbol.json",)),
    Format("plan.json", (damage_json, damage_json, damage_bytes, json_values), _read_plan),
    Format("statistics.npz", (damage_bytes, _statistics, _statistics, _zip, table), _read_statistics),
    Format("tensorrt.cache", (damage_bytes, _text), _read_table(tables.read_tensorrt_cache), ("statistics.npz",)),
    Format(
        "calibration.json", (damage_bytes, damage_json), _read_table(tables.read_onnxruntime_table), ("statistics.npz",)
    ),
    Format("net.onnx", (damage_bytes, _onnx, _onnx), _read_onnx),
    Format("external.onnx", (damage_bytes, _onnx, external, external), _read_onnx, ("external.bin",), links=True),
    Format("images.rec", (damage_bytes,), _read_record),
    *(Format(f"image.{suffix}", (damage_bytes,), _read_image) for suffix in ("bmp", "webp")),
    Format("image.jpg", (damage_bytes, jpeg), _read_image),
    Format("image.tif", (damage_bytes, tiff), _read_image),
    Format("image.png", (damage_bytes, _png_size, strip), _read_image),
    Format("data.npy", (damage_bytes, array), _read_arrays),
    Format("data.npz", (damage_bytes, _zip, archive), _read_arrays),
    Format("trials.json", (damage_bytes, damage_json), _read_trials),
)
TRIALS = f'{{"format": "{FORMAT}", "key": "k", "trials": [[[], 1.0], [["conv1"], 1.5]]}}'
