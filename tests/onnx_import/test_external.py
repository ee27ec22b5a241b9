"""Values beside an ONNX file are read from the place that was checked, in the file's own folder, and within bounds."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import mxquant
from mxquant.errors import InputError
from mxquant.onnx_import import external

WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)
Entries = List[Tuple[str, str]]
PLACE: Entries = [("location", "values.bin"), ("offset", "0"), ("length", "48")]


def network(tmp_path: Path, entries: Entries, tensors: int = 1, dims: Tuple[int, ...] = (3, 4), kind: int = 1) -> Path:
    """Write a network of additions whose constants are said to be elsewhere."""
    folder = tmp_path / "folder"
    folder.mkdir(exist_ok=True)
    (folder / "values.bin").write_bytes(WEIGHT.tobytes())
    constants, nodes = [], []
    for number in range(tensors):
        constant = TensorProto(name=f"w{number}", dims=dims, data_type=kind, data_location=TensorProto.EXTERNAL)
        for key, value in entries:
            constant.external_data.add(key=key, value=value)
        constants.append(constant)
        nodes.append(helper.make_node("Add", [f"y{number - 1}" if number else "x", f"w{number}"], [f"y{number}"]))
    data, result = (helper.make_tensor_value_info(name, 1, (3, 4)) for name in ("x", f"y{tensors - 1}"))
    graph = helper.make_graph(nodes, "graph", [data], [result], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


def read(path: Path) -> Dict[str, np.ndarray]:
    return {name: value.asnumpy() for name, value in mxquant.from_onnx(path).arg_params.items()}


@pytest.mark.parametrize(
    "entries",
    [
        PLACE,
        [("location", "values.bin")],
        [*PLACE, ("checksum", "0" * 40), ("basepath", "elsewhere")],
        [("location", "./values.bin"), ("offset", "0")],
    ],
)
def test_values_of_another_file_are_read(entries: Entries, tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(network(tmp_path, entries))["w0"], WEIGHT)


def test_a_file_of_onnx_itself_is_read(tmp_path: Path) -> None:
    model = onnx.load(str(network(tmp_path, PLACE)))
    onnx.save(model, str(tmp_path / "net.onnx"), save_as_external_data=True, location="own.bin", size_threshold=0)
    np.testing.assert_array_equal(read(tmp_path / "net.onnx")["w0"], WEIGHT)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([*PLACE, ("location", "../marker")], "has the entry 'location' twice"),
        ([("location", "../marker"), *PLACE], "has the entry 'location' twice"),
        ([*PLACE, ("offset", "4")], "has the entry 'offset' twice"),
        ([*PLACE, ("mode", "w")], "has the entry 'mode', expected one of location, offset"),
        ([("location", "../marker")], "said to be in '../marker', expected a file in its folder"),
        ([("location", "")], "said to be in '', expected a file in its folder"),
        ([], "said to be in '', expected a file in its folder"),
        ([("location", ".")], "said to be in '.', expected a file in its folder"),
        ([("location", "a\0b")], "expected a file in its folder"),
        ([("location", "absent\x1b[31m")], r"'absent\\x1b\[31m': No such file"),
        ([("location", "values.bin/x")], "Not a directory"),
        ([("location", "values.bin"), ("offset", "-1")], "offset is '-1', expected a whole number from 0"),
        ([("location", "values.bin"), ("offset", "9" * 400)], "offset is '999"),
        ([("location", "values.bin"), ("length", "1e3")], "length is '1e3', expected a whole number"),
        ([("location", "values.bin"), ("offset", "8"), ("length", "48")], "48 bytes from byte 8 on, but .* has 48"),
        ([("location", "values.bin"), ("length", "1" + "0" * 15)], "1000000000000000 bytes from byte 0 on, but"),
        ([("location", "values.bin"), ("offset", "1" + "0" * 15)], "from byte 1000000000000000 on, but"),
        ([("location", "values.bin"), ("length", "44")], r"44 bytes in 'values.bin', expected 48 by their shape"),
    ],
)
def test_places_that_are_none_are_refused(entries: Entries, message: str, tmp_path: Path) -> None:
    (tmp_path / "marker").write_bytes(WEIGHT.tobytes())
    with pytest.raises(InputError, match=f"cannot read '.*net.onnx' as ONNX: the values of 'w0': .*{message}"):
        mxquant.from_onnx(network(tmp_path, entries))


@pytest.mark.parametrize(("dims", "kind"), [((3, -4), 1), ((2**40, 2**40), 1), ((3, 4), 8), ((3, 4), 99), ((5,), 1)])
def test_shapes_that_the_file_cannot_hold_are_refused(dims: Tuple[int, ...], kind: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected numbers|expected .* by their shape"):
        mxquant.from_onnx(network(tmp_path, PLACE, dims=dims, kind=kind))


def _symbolic(link: Path, marker: Path) -> None:
    link.symlink_to(marker)


def _hard(link: Path, marker: Path) -> None:
    os.link(marker, link)


def _folder(link: Path, marker: Path) -> None:
    link.mkdir()


def _fifo(link: Path, marker: Path) -> None:
    os.mkfifo(link)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_symbolic, "expected a file in its folder"),
        (_hard, "has 2 names .hard links., expected one; copy it instead"),
        (_folder, "Is a directory"),
        (_fifo, "it is a FIFO, expected a regular file"),
    ],
)
def test_other_files_are_not_read_by_links(make: Callable[[Path, Path], None], message: str, tmp_path: Path) -> None:
    path = network(tmp_path, [("location", "link")])
    (tmp_path / "marker").write_bytes(WEIGHT.tobytes())
    make(path.with_name("link"), tmp_path / "marker")
    with pytest.raises(InputError, match=message):
        mxquant.from_onnx(path)


def test_a_link_within_the_folder_is_followed(tmp_path: Path) -> None:
    path = network(tmp_path, [("location", "link")])
    path.with_name("link").symlink_to("values.bin")
    np.testing.assert_array_equal(read(path)["w0"], WEIGHT)


def test_some_tensors_may_share_values_and_many_may_not(tmp_path: Path) -> None:
    assert len(read(network(tmp_path, PLACE, tensors=4))) == 4
    with pytest.raises(InputError, match="values of its 5 tensors in other files are 240 bytes, expected at most 192"):
        mxquant.from_onnx(network(tmp_path, PLACE, tensors=5))


def test_all_together_have_a_bound(tmp_path: Path, monkeypatch: Any) -> None:
    path = network(tmp_path, PLACE, tensors=2)
    # Those of the model itself count too.
    monkeypatch.setattr(external, "MOST_BYTES", path.stat().st_size + 50)
    with pytest.raises(InputError, match="are 96 bytes, expected at most 50"):
        mxquant.from_onnx(path)


def test_tensors_inside_of_operators_are_looked_at_too(tmp_path: Path) -> None:
    path = network(tmp_path, PLACE)
    model = onnx.load_model(str(path), load_external_data=False)
    node = model.graph.node[0]
    inner = helper.make_graph([], "inner", [], [], [model.graph.initializer[0]])
    inner.initializer[0].external_data[0].value = "../marker"
    node.attribute.append(helper.make_attribute("body", inner))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="said to be in '../marker', expected a file in its folder"):
        mxquant.from_onnx(path)


def test_nothing_is_read_where_one_place_is_none(tmp_path: Path, monkeypatch: Any) -> None:
    def refuse(place: Any) -> bytes:
        raise AssertionError(place)

    monkeypatch.setattr(external, "_read", refuse)
    path = network(tmp_path, PLACE, tensors=2)
    model = onnx.load_model(str(path), load_external_data=False)
    model.graph.initializer[1].external_data[0].value = "absent"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="No such file"):
        mxquant.from_onnx(path)
