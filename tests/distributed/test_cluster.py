"""On a cluster everything comes out as in one process, to the last byte, whoever does what and whatever goes wrong."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any, Callable, Dict, List

import dask.array
import dask.bag
import numpy as np
import pytest

import mxquant
from mxquant.cli.running import run
from mxquant.datasets import ArrayFile, ImageFiles, Preprocessing, RecordFile
from mxquant.distributed import calibrate, dispatch, score
from mxquant.errors import CalibrationError, ClusterError, InputError, NonFiniteError
from mxquant.runtime.mxnet import mx
from tests.distributed.conftest import COUNT, Net
from tests.distributed.sources import Faulty
from tests.families.small import built
from tests.networks import images

FORMS: Dict[str, Callable[[Path], Any]] = {
    "npz": lambda folder: ArrayFile.of(str(folder / "data.npz"), batch_size=8),
    "rec": lambda folder: RecordFile.of(str(folder / "val.rec"), Preprocessing(32), 4),
    "images": lambda folder: ImageFiles.of(str(folder / "images"), Preprocessing(32), 4),
    "part": lambda folder: ArrayFile.of(str(folder / "data.npy"), batch_size=8).part(13, 55),
}


def saved(statistics: mxquant.Statistics, folder: Path) -> bytes:
    statistics.save(folder / "saved.npz")
    return (folder / "saved.npz").read_bytes()


def plan(net: Net, statistics: mxquant.Statistics) -> str:
    return mxquant.make_plan(net.symbol, statistics, **net.params).to_json()


@pytest.fixture(scope="module")
def data(folder: Path) -> ArrayFile:
    return ArrayFile.of(str(folder / "data.npy"), batch_size=8)


@pytest.fixture(scope="module")
def expected(net: Net, data: ArrayFile) -> mxquant.Statistics:
    return mxquant.calibrate(net.symbol, data, **net.params)


@pytest.mark.parametrize(
    "form", ["npz", "rec", *(pytest.param(form, marks=pytest.mark.slow) for form in ("images", "part"))]
)
def test_statistics_are_those_of_one_process_for_any_size_of_shards(
    client: Any, net: Net, folder: Path, tmp_path: Path, form: str
) -> None:
    data = FORMS[form](folder)
    alone = mxquant.calibrate(net.symbol, data, **net.params)
    found = [mxquant.calibrate(net.symbol, data, client=client, **net.params)]
    found += [calibrate(client, net.symbol, data, shard_size=size, **net.params) for size in (1, 40)]
    assert {saved(each, tmp_path) for each in found} == {saved(alone, tmp_path)}


def test_any_division_of_the_batches_gives_the_same_where_a_batchs_size_changes_the_last_digits(
    client: Any, folder: Path, tmp_path: Path
) -> None:
    """With oneDNN a FullyConnected may return other last digits in a batch of another size, or at another place."""
    x = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.var("data")), num_hidden=16, name="fc")
    params = {"arg_params": {"fc_weight": mx.nd.array(images(16, 3072)), "fc_bias": mx.nd.zeros(16)}}
    data = ArrayFile.of(str(folder / "data.npy"), batch_size=7)
    alone = mxquant.calibrate(x, data, **params)
    found = [calibrate(client, x, data, shard_size=size, **params) for size in (7, 21, 64)]
    assert {saved(each, tmp_path) for each in found} == {saved(alone, tmp_path)}
    assert alone.num_batches == 15


def test_the_first_examples_exactly(client: Any, net: Net, data: ArrayFile, tmp_path: Path) -> None:
    found = mxquant.calibrate(net.symbol, data, num_calib_examples=43, client=client, target="onednn", **net.params)
    alone = mxquant.calibrate(net.symbol, data, num_calib_examples=43, target="onednn", **net.params)
    assert found.num_examples == 43 and saved(found, tmp_path) == saved(alone, tmp_path)


def test_a_dask_array_of_any_chunks(client: Any, net: Net, data: ArrayFile, tmp_path: Path) -> None:
    array = np.load(data.path)
    alone = mxquant.calibrate(net.symbol, array, **net.params)
    uneven = dask.array.from_array(array, (17, 3, 20, 32))
    found = mxquant.calibrate(net.symbol, uneven, client=client, **net.params)
    assert saved(found, tmp_path) == saved(alone, tmp_path)


def test_a_dask_bag_of_examples_with_and_without_labels(client: Any, net: Net, data: ArrayFile, tmp_path: Path) -> None:
    array = np.load(data.path)
    alone = mxquant.calibrate(net.symbol, [array[:32], array[32:50], array[50:82], array[82:]], **net.params)
    for elements in (list(array), [(image, 1.0) for image in array]):
        bag = dask.bag.from_sequence(elements, npartitions=2)
        found = mxquant.calibrate(net.symbol, bag, client=client, **net.params)
        assert saved(found, tmp_path) == saved(alone, tmp_path)


def test_a_plan_that_two_workers_made_is_that_of_one_worker(
    client: Any, net: Net, data: ArrayFile, expected: Any, tmp_path: Path
) -> None:
    workers = client.scheduler_info()["workers"]
    one = min(workers)
    original = client.submit

    def only_one(*arguments: Any, **options: Any) -> Any:
        return original(*arguments, **{**options, "workers": [one], "allow_other_workers": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "submit", only_one)
        found = calibrate(client, net.symbol, data, shard_size=8, **net.params)
    assert saved(found, tmp_path) == saved(expected, tmp_path) and plan(net, found) == plan(net, expected)


def test_progress_counts_examples_once_and_tells_shards(
    client: Any, net: Net, data: ArrayFile, monkeypatch: Any, capsys: Any
) -> None:
    steps: List[Any] = []
    calibrate(client, net.symbol, data, shard_size=24, progress=lambda *step: steps.append(step), **net.params)
    assert steps[-1] == ("calibrating", COUNT, COUNT)
    assert sorted(after[1] - before[1] for before, after in zip([("", 0), *steps], steps)) == [4, 24, 24, 24, 24]
    calibrate(client, net.symbol, data, progress=True, **net.params)
    assert "calibrating, shard 13 of 13: 100/100, " in capsys.readouterr().err


def test_an_interrupted_run_goes_on_here_or_there_to_the_same_bytes(
    client: Any, net: Net, data: ArrayFile, expected: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    path, results = tmp_path / "partial.npz", dispatch.Dispatch.results

    def interrupted(self: Any) -> Any:
        """Yield what comes until the first examples are among it: only what follows them without a gap is kept."""
        for first, last, found in results(self):
            yield first, last, found
            if first == 0:
                raise KeyboardInterrupt

    for goes_on in ({"client": client}, {}):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(dispatch.Dispatch, "results", interrupted)
            calibrate(client, net.symbol, data, checkpoint=path, shard_size=8, **net.params)
        before = mxquant.Statistics.load(path).num_examples
        assert 0 < before < COUNT and before % 8 == 0
        found = mxquant.calibrate(net.symbol, data, checkpoint=path, **goes_on, **net.params)
        assert saved(found, tmp_path) == saved(expected, tmp_path) and not path.exists()


def test_a_worker_that_is_killed_in_mid_shard_costs_nothing_but_time_and_is_told_of(
    client: Any, net: Net, data: ArrayFile, expected: Any, tmp_path: Path, caplog: Any
) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    faulty = Faulty(data, 42, "kill", marks, times=1)
    found = calibrate(client, net.symbol, faulty, shard_size=16, **net.params)
    assert len(list(marks.iterdir())) == 1 and saved(found, tmp_path) == saved(expected, tmp_path)
    (told,) = [each.getMessage() for each in caplog.records if each.getMessage().startswith("workers that are gone: ")]
    assert told.startswith("workers that are gone: tcp://127.0.0.1:") and told.count("tcp://") == 1


@pytest.mark.slow
def test_what_a_killed_worker_had_done_and_nobody_merged_is_done_again(
    client: Any, net: Net, data: ArrayFile, expected: Any, tmp_path: Path
) -> None:
    workers, killed = client.run(os.getpid), []

    def kill(step: str, done: int, total: int) -> None:
        if done >= 40 and not killed:
            killed.append(min(workers.values()))
            os.kill(killed[0], signal.SIGKILL)

    found = calibrate(client, net.symbol, data, shard_size=8, progress=kill, **net.params)
    assert killed and saved(found, tmp_path) == saved(expected, tmp_path)


@pytest.mark.slow
def test_a_shard_of_which_workers_die_is_named(client: Any, net: Net, data: ArrayFile, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    faulty = Faulty(data.part(0, 32), 20, "kill", marks)
    with pytest.raises(ClusterError, match=r"^shard 2 of 2 \(examples 16 to 31 of 'faulty'\): 2 workers died while"):
        calibrate(client, net.symbol, faulty, shard_size=16, **net.params)
    # Where both die before one is back, the network is lost with them, and they get it anew: two times at most.
    assert 2 <= len(list(marks.iterdir())) <= 3 * 2


def test_a_shard_that_cannot_be_read_is_tried_three_times_on_both_workers_and_named(
    client: Any, net: Net, data: ArrayFile, expected: Any, tmp_path: Path
) -> None:
    dispatch.workers_of(client)
    marks = tmp_path / "marks"
    marks.mkdir()
    with pytest.raises(CalibrationError) as raised:
        calibrate(client, net.symbol, Faulty(data, 42, "raise", marks), shard_size=16, **net.params)
    text = str(raised.value)
    assert text.startswith(
        "shard 3 of 7 (examples 32 to 47 of 'faulty'): OSError: the disk is gone; tried 3 times, on "
    )
    assert len(list(marks.iterdir())) == 3
    for mark in marks.iterdir():
        mark.unlink()
    found = calibrate(client, net.symbol, Faulty(data, 42, "raise", marks, times=2), shard_size=16, **net.params)
    assert saved(found, tmp_path) == saved(expected, tmp_path)


def test_a_file_that_is_gone_is_named_with_its_shard(client: Any, net: Net, folder: Path, tmp_path: Path) -> None:
    files = [(folder / "images" / "ab"[number % 2] / f"{number:02d}.bmp", None) for number in range(8)]
    files[6] = (tmp_path / "gone.bmp", None)
    data = ImageFiles(files, Preprocessing(32), 2)
    sentence = (
        r"^shard 4 of 4 \(examples 6 to 7 of 'images'\): cannot read '.*gone.bmp': No such file or directory; tried"
    )
    with pytest.raises(InputError, match=sentence):
        calibrate(client, net.symbol, data, **net.params)


def test_nan_is_told_with_tensor_batch_and_shard_at_once(client: Any, net: Net, tmp_path: Path) -> None:
    array = images(64, 3, 32, 32)
    array[45, 0, 0, :3] = np.nan
    np.save(tmp_path / "nan.npy", array)
    data = ArrayFile.of(str(tmp_path / "nan.npy"), batch_size=8)
    with pytest.raises(NonFiniteError, match=r"tensor 'data' in batch 5 of shard 3 of 4 \(examples 32 to 47") as raised:
        calibrate(client, net.symbol, data, shard_size=16, **net.params)
    assert (raised.value.tensor, raised.value.count) == ("data", 3)
    found = calibrate(client, net.symbol, data, shard_size=16, nonfinite="ignore", **net.params)
    assert found["data"].nonfinite == 3


def test_data_of_another_shape_are_refused_with_their_shard(client: Any, net: Net, tmp_path: Path) -> None:
    np.save(tmp_path / "grey.npy", images(8, 1, 32, 32))
    with pytest.raises(
        InputError, match=r"^shard 1 of 1 \(examples 0 to 7 of .*grey.npy'\): .*cannot take these inputs"
    ):
        calibrate(client, net.symbol, ArrayFile.of(str(tmp_path / "grey.npy")), **net.params)


def set_version(version: str) -> None:
    from mxquant import version as module

    module.__version__ = version


def set_threads(threads: str) -> str:
    before, os.environ["OMP_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"], threads
    return before


def test_a_worker_with_another_version_or_other_threads_is_named(client: Any, net: Net, data: ArrayFile) -> None:
    dispatch.workers_of(client)
    worker = max(client.run(os.getpid))
    for change, value, sentence in (
        (set_version, "0.0.9", r"has mxquant 0.0.9, expected .*; pip install 'mxquant=="),
        (
            set_threads,
            "3",
            r"runs MXNet with 3 threads, others with 1; start all workers with the same OMP_NUM_THREADS",
        ),
    ):
        client.run(change, value, workers=[worker])
        try:
            with pytest.raises(ClusterError, match=f"worker {worker} {sentence}"):
                calibrate(client, net.symbol, data, **net.params)
        finally:
            client.run(change, mxquant.__version__ if change is set_version else "1", workers=[worker])


def test_a_worker_that_comes_later_is_looked_at_too(client: Any, net: Net, data: ArrayFile) -> None:
    changed: List[str] = []

    def change(step: str, done: int, total: int) -> None:
        if not changed:
            changed.extend(client.run(set_version, "0.0.9"))

    try:
        with pytest.raises(ClusterError, match=r"^shard \d+ of 13 .*: worker tcp://.* has mxquant 0.0.9, expected"):
            calibrate(client, net.symbol, data, shard_size=8, progress=change, **net.params)
    finally:
        client.run(set_version, mxquant.__version__)


def lose_networks() -> None:
    from mxquant.distributed import shelf, worker

    worker._kept.clear()
    shelf.clear()


def test_a_worker_that_lacks_the_network_gets_it_and_tells_of_no_error(
    client: Any, net: Net, data: ArrayFile, expected: mxquant.Statistics, tmp_path: Path
) -> None:
    """As one does that comes later."""
    lost: List[Any] = []

    def lose(step: str, done: int, total: int) -> None:
        if not lost:
            lost.append(client.run(lose_networks))

    found = calibrate(client, net.symbol, data, shard_size=8, progress=lose, **net.params)
    assert lost and saved(found, tmp_path) == saved(expected, tmp_path)
    said = [text for records in client.get_worker_logs().values() for _, text in records]
    assert not [text for text in said if "MissingNetwork" in text]


def test_nothing_is_left_on_the_cluster(client: Any, net: Net, data: ArrayFile) -> None:
    calibrate(client, net.symbol, data, **net.params)
    for _ in range(100):
        if not client.futures:
            break
        time.sleep(0.05)
    assert not list(client.futures)


def test_scores_are_those_of_one_process(
    client: Any, net: Net, folder: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    mx.model.save_checkpoint("net", 0, net.symbol, **net.params)
    model = mxquant.quantize(net.symbol, np.load(folder / "data.npy"), accuracy="fast", **net.params)
    model.save("int8")
    data = ArrayFile.of(str(folder / "data.npz"), batch_size=8)
    found = [score(client, net.symbol, data, int8=model, shard_size=size, **net.params) for size in (8, 56)]
    assert found[0].tallies == found[1].tallies and found[0].faithful.sqnr == found[1].faithful.sqnr
    words = ["score", "-m", "net", "--int8", "int8", "-d", str(folder / "data.npz"), "-b", "8", "--skip", "5", "--json"]
    documents = []
    for more in ([], ["--scheduler", client.scheduler.address]):
        capsys.readouterr()
        assert run([*words, *more]) == 0
        document = json.loads(capsys.readouterr().out)
        for name in ("fp32", "int8"):
            assert document[name].pop("per_second") > 0
        documents.append(document)
    assert documents[0] == documents[1] and documents[0]["examples"] == 95
    assert run([*words[:-3], "--skip", "100", "--scheduler", client.scheduler.address]) == 2
    assert "--skip is 100, and" in capsys.readouterr().err


def test_a_detector_is_judged_by_its_scores_and_boxes(client: Any, tmp_path: Path) -> None:
    symbol, args, aux, photos = built("SSD, anchors as parameters")
    params = {"arg_params": args, "aux_params": aux}
    np.save(tmp_path / "photos.npy", photos)
    model = mxquant.quantize(symbol, photos, accuracy="fast", **params)
    found = score(client, symbol, ArrayFile.of(str(tmp_path / "photos.npy"), batch_size=1), int8=model, **params)
    heads = mxquant.compare(symbol, model, photos, **params).outputs
    assert found.faithful.sqnr == pytest.approx(min(head.int8_sqnr for head in heads), abs=0.05)


def test_the_command_calibrates_and_quantizes_on_a_cluster(
    client: Any, net: Net, folder: Path, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    mx.model.save_checkpoint("net", 0, net.symbol, **net.params)
    there = ["--scheduler", client.scheduler.address]
    for words in (
        ["calibrate", "-d", str(folder / "data.npy"), "-n", "50", "-b", "8", "-o", "NAME.npz"],
        ["calibrate", "-d", str(folder / "val.rec"), "--image-size", "32", "-b", "4", "-o", "NAME.npz", "--resume"],
        ["calibrate", "-d", f"file://{folder}/val.rec", "--image-size", "32", "-b", "4", "-o", "NAME.npz"],
        ["quantize", "-d", str(folder / "images"), "--image-size", "32", "-n", "9", "-o", "NAME", "--accuracy", "fast"],
    ):
        for name, more in (("here", []), ("there", there)):
            assert run([*(word.replace("NAME", name) for word in words), "-m", "net", "-q", *more]) == 0
        files = sorted(path.name for path in tmp_path.glob("here*"))
        assert files and all(
            Path(file).read_bytes() == Path(file.replace("here", "there")).read_bytes() for file in files
        )
        for path in (*tmp_path.glob("here*"), *tmp_path.glob("there*")):
            path.unlink()
    capsys.readouterr()
    for words, sentence in (
        (
            ["calibrate", "-d", "os:getcwd", "-o", "x.npz"],
            "--scheduler: workers read files, but --data is the function",
        ),
        (["calibrate", "-d", str(folder / "data.npy"), "-n", "101", "-o", "x.npz"], "--num-examples is 101, but"),
        (["quantize", "-d", str(folder / "data.npy"), "-o", "x", "--statistics", "s"], "--scheduler is for the calib"),
    ):
        assert run([*words, "-m", "net", *there]) == 2
        assert sentence in capsys.readouterr().err


def test_what_is_no_cluster_or_no_data_set_is_refused(client: Any, net: Net, data: ArrayFile, tmp_path: Path) -> None:
    for wrong, sentence in (
        (
            np.zeros((4, 3, 32, 32), np.float32),
            "data are ndarray, expected a data set of mxquant.datasets, a dask.array",
        ),
        (dask.array.zeros((0, 3, 32, 32)), "holds 0 examples"),
    ):
        with pytest.raises(InputError, match=sentence):
            calibrate(client, net.symbol, wrong, **net.params)
    with pytest.raises(InputError, match="ctx is cpu"):
        mxquant.calibrate(net.symbol, data, client=client, ctx=mx.cpu(), **net.params)
    with pytest.raises(InputError, match="num_calib_examples is 101, but '.*' holds 100 examples"):
        calibrate(client, net.symbol, data, num_calib_examples=101, **net.params)
    with pytest.raises(InputError, match="shard_size is 0, expected"):
        calibrate(client, net.symbol, data, shard_size=0, **net.params)
    bag = dask.bag.from_sequence([np.zeros(3)])
    with pytest.raises(InputError, match="nobody knows where the first examples of a dask.bag end"):
        calibrate(client, net.symbol, bag, num_calib_examples=1, **net.params)
    with pytest.raises(InputError, match="a dask.bag has no first examples to go on from"):
        calibrate(client, net.symbol, bag, checkpoint=tmp_path / "partial.npz", **net.params)
