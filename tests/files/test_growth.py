"""Names are looked up in one pass: twice as many take twice as long, not four times."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np
import pytest

from mxquant.errors import InputError
from mxquant.files.params_file import read_params_file, write_params_file
from mxquant.files.reading import parse_json
from mxquant.files.twice import first_twice
from mxquant.graph.names import unused_name

FEW, MANY = 5_000, 20_000


def test_the_first_name_that_stands_twice_is_found() -> None:
    assert first_twice(["a", "b", "a", "b"]) == "a"
    assert first_twice(["a", "b"]) is None and first_twice([]) is None


def test_names_get_the_first_number_that_is_free() -> None:
    taken, numbers, found = {"a", "a_2"}, {}, []
    for name in ("a", "a", "b", "b", "a_1", "a"):
        found.append(unused_name(name, taken, numbers))
        taken.add(found[-1])
    assert found == ["a_1", "a_3", "b", "b_1", "a_1_1", "a_4"]


def _json(count: int, tmp_path: Path) -> Callable[[], Any]:
    entries = ", ".join(f"{json.dumps(f'name{number}')}: 0" for number in range(count))
    text = f'{{{entries}, "name{count - 1}": 1}}'

    def read() -> None:
        with pytest.raises(ValueError, match="stands twice"):
            parse_json(text)

    return read


def _params(count: int, tmp_path: Path) -> Callable[[], Any]:
    write_params_file(tmp_path / "file", {f"{number:07d}": np.zeros(1, np.int8) for number in range(count)})
    content = (tmp_path / "file").read_bytes()
    (tmp_path / "file").write_bytes(content[:-7] + b"%07d" % (count - 2))

    def read() -> None:
        with pytest.raises(InputError, match="two arrays called"):
            read_params_file(tmp_path / "file")

    return read


def _unused(count: int, tmp_path: Path) -> Callable[[], Any]:
    def name() -> None:
        taken, numbers = set(), {}
        for _ in range(count):
            taken.add(unused_name("layer", taken, numbers))
        assert len(taken) == count

    return name


LOOK_UPS: Dict[str, Callable[[int, Path], Callable[[], Any]]] = {"json": _json, "params": _params, "unused": _unused}


def least_time(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(5):
        begin = time.process_time()  # other processes do not count
        work()
        times.append(time.process_time() - begin)
    return min(times)


@pytest.mark.parametrize("kind", LOOK_UPS)
def test_four_times_as_many_names_take_no_eight_times_as_long(kind: str, tmp_path: Path) -> None:
    few, many = (least_time(LOOK_UPS[kind](count, tmp_path)) for count in (FEW, MANY))
    assert many < 8 * few + 0.02  # a square would be sixteen times
