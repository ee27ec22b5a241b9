"""Data behind URLs: read from a server of files and from memory, in parts, or refused with the URL and the reason."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import fsspec
import numpy as np
import pytest

from mxquant.datasets import ArrayFile, Dataset, ImageFiles, Preprocessing, RecordFile
from mxquant.errors import InputError
from tests.datasets.server import Served, serving, serving_whole_files
from tests.datasets.test_datasets import COUNT, folder  # noqa: F401

HOW = Preprocessing(32)
FORMS: Dict[str, Callable[[str], Dataset]] = {
    "rec": lambda place: RecordFile.of(f"{place}/val.rec", HOW, 4),
    "rec without idx": lambda place: RecordFile.of(f"{place}/alone.rec", HOW, 4),
    "images": lambda place: ImageFiles.of(f"{place}/images", HOW, 4),
    "list of images": lambda place: ImageFiles([(f"{place}/images/{i:02d}.bmp", i) for i in range(COUNT)], HOW, 4),
    "classes": lambda place: ImageFiles.of(f"{place}/classes", HOW, 4),
    "npy": lambda place: ArrayFile.of(f"{place}/data.npy", batch_size=4),
    "npz": lambda place: ArrayFile.of(f"{place}/data.npz", batch_size=4),
}


@pytest.fixture(scope="module")
def place(folder: Path) -> Path:  # noqa: F811
    """Return a folder that has images in class folders too, with names that slashes would sort in another way."""
    shutil.copy(str(folder / "val.rec"), str(folder / "alone.rec"))
    for number in range(COUNT):
        path = folder / "classes" / ("a", "a-b", "a.b")[number % 3] / f"{number:02d}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(folder / "images" / f"{number:02d}.bmp"), str(path))
    # More than fsspec reads ahead.
    np.save(folder / "large.npy", np.arange(3 * 1024 * 1024, dtype=np.float32).reshape(12, 1, 512, 512))
    return folder


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[Served]:
    with serving(place) as found:
        yield found


@pytest.fixture(scope="module")
def memory(place: Path) -> Iterator[str]:
    system = fsspec.filesystem("memory")
    system.put(f"{place}/", "/bucket", recursive=True)
    yield "memory://bucket"
    system.rm("/bucket", recursive=True)


def same(found: Dataset, expected: Dataset) -> bool:
    pairs = list(zip(found, expected))
    return len(found) == len(expected) and all(
        len(one) == len(other) and all(map(np.array_equal, one, other)) for one, other in pairs
    )


# Its lists do not tell folders from files.
@pytest.mark.parametrize("form", [form for form in FORMS if form != "classes"])
def test_a_server_of_files_gives_what_the_folder_has(served: Served, place: Path, form: str) -> None:
    found, expected = FORMS[form](served.url), FORMS[form](str(place))
    assert same(found, expected)
    assert same(found.part(3, 9), expected.part(3, 9))


@pytest.mark.parametrize("form", FORMS)
def test_memory_gives_what_the_folder_has(memory: str, place: Path, form: str) -> None:
    found, expected = FORMS[form](memory), FORMS[form](str(place))
    assert same(found, expected)
    assert same(found.part(3, 9), expected.part(3, 9))


def test_only_the_bytes_of_a_part_are_asked_for(served: Served) -> None:
    data = ArrayFile.of(f"{served.url}/large.npy", batch_size=4)
    served.requests.clear()
    (last,) = data.part(11, 12)
    assert last[0][0, 0, 0, 0] == 11 * 512 * 512
    begins = [request.begin for request in served.requests]
    assert max(begins) >= 11 * 512 * 512 * 4
    assert not any(begin is None for begin in begins)


def test_a_server_without_parts_is_refused_where_parts_are_needed(place: Path) -> None:
    with serving_whole_files(place) as url:
        assert same(ImageFiles.of(f"{url}/classes", HOW, 4), ImageFiles.of(str(place / "classes"), HOW, 4))
        data = ArrayFile.of(f"{url}/large.npy", batch_size=4)
        with pytest.raises(InputError, match=r"cannot read '.*large.npy': The HTTP server doesn't .* range requests"):
            list(data.part(11, 12))


@pytest.mark.parametrize(
    "read",
    [
        lambda url: ArrayFile.of(f"{url}/absent.npy"),
        lambda url: ArrayFile.of(f"{url}/absent.npz"),
        lambda url: RecordFile.of(f"{url}/absent.rec", HOW),
        lambda url: list(ImageFiles([(f"{url}/absent.bmp", 0)], HOW)),
        lambda url: ImageFiles.of(f"{url}/absent", HOW),
    ],
)
def test_what_is_not_there_is_named(served: Served, read: Callable[[str], Any]) -> None:
    with pytest.raises(
        InputError, match=rf"cannot read '{served.url}/absent[.\w]*': (no such file or folder|404, message='Not Found')"
    ):
        read(served.url)


def test_a_server_that_does_not_answer_is_named_with_the_reason() -> None:
    with pytest.raises(InputError, match=r"cannot read 'http://127.0.0.1:9/data.npy': .*(Connect call failed|refused)"):
        ArrayFile.of("http://127.0.0.1:9/data.npy")


def test_a_kind_of_url_that_nothing_reads_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot read 'nothing://data.npy': .*nothing"):
        ArrayFile.of("nothing://data.npy")


def test_a_folder_without_images_is_refused(served: Served, place: Path) -> None:
    (place / "empty").mkdir(exist_ok=True)
    with pytest.raises(InputError, match=rf"'{served.url}/empty' has no images"):
        ImageFiles.of(f"{served.url}/empty", HOW)
