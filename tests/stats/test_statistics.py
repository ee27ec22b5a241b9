"""Statistics merge like the runs they stand for, and a calibration table is read back exactly or refused."""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxquant.errors import InputError, OutputError, StatisticsError
from mxquant.stats import Histogram, Statistics, table
from mxquant.stats.channel_sums import ChannelSums

DATA = Path(__file__).parent.parent / "data"
NETWORK, OTHER_NETWORK = "0123456789abcdef" * 4, "fedcba9876543210" * 4


def statistics(histograms=None, **changes):
    fields = {
        "network": NETWORK,
        "num_examples": 10,
        "num_batches": 2,
        "mxquant_version": "0.1.0",
        "mxnet_version": "1.9.1",
        "channel_sums": example_sums() if histograms is None else {},
    }
    return Statistics(example_histograms() if histograms is None else histograms, **{**fields, **changes})


def example_histograms():
    return {
        "relu0_output": Histogram.of(np.float32([0, 0, 0.5, 3])),
        "data": Histogram.of(np.float32([-1.5, 0, 2.0**-149, 1, np.nan])),
        "unused": Histogram(),
        "dead": Histogram.of(np.zeros(4, np.float32)),
    }


def example_sums():
    return {"relu0_output": ChannelSums.of(np.array([[0, 0.25], [1, 3]]))}


# A mapping that merges


def test_it_is_a_mapping_from_tensor_to_histogram():
    found = statistics()
    assert isinstance(found, Mapping)
    assert list(found) == ["data", "dead", "relu0_output", "unused"]
    assert len(found) == 4
    assert found["data"] == example_histograms()["data"]
    assert found.get("conv7") is None


def test_it_is_immutable():
    source = example_histograms()
    found = statistics(source)
    source.clear()
    assert len(found) == 4
    with pytest.raises(FrozenInstanceError):
        found.num_examples = 3


def test_merging_adds_up():
    one, other = np.float32([1, 2, 3]), np.float32([-70, 0])
    merged = statistics({"x": Histogram.of(one)}) + statistics(
        {"x": Histogram.of(other)}, num_examples=5, num_batches=1, mxnet_version="1.8.0"
    )
    assert merged == statistics(
        {"x": Histogram.of(np.append(one, other))},
        num_examples=15,
        num_batches=3,
        mxnet_version="1.8.0, 1.9.1",
    )


batches = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=5)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.lists(st.tuples(batches, st.sampled_from(["1.7.0", "1.8.0", "1.9.1"])), min_size=3, max_size=3))
def test_merging_is_associative_and_commutative_with_0_as_identity(runs):
    a, b, c = (
        statistics({"x": Histogram.of(np.array(values, np.float32))}, num_examples=number, mxnet_version=version)
        for number, (values, version) in enumerate(runs)
    )
    assert a + b == b + a
    assert (a + b) + c == a + (b + c) == sum([c, b, a])
    assert a + 0 == 0 + a == a


def test_merging_keeps_the_means_that_both_have():
    histograms = {name: Histogram.of(np.float32([1, 2])) for name in "abc"}
    one, other = (ChannelSums.of(np.array([values], float)) for values in ([1, 2], [5, 9]))
    wider = ChannelSums.of(np.array([[1.0, 2, 3]]))
    left = statistics(histograms, channel_sums={"a": one, "b": one, "c": one})
    right = statistics(histograms, channel_sums={"b": wider, "c": other})
    for merged in (left + right, right + left):
        assert list(merged.channel_sums) == ["c"]
        assert merged.channel_sums["c"].mean.tolist() == [3.0, 5.5]


def test_statistics_of_two_networks_do_not_merge():
    with pytest.raises(StatisticsError, match=f"two networks, {NETWORK} and {OTHER_NETWORK}"):
        statistics() + statistics(network=OTHER_NETWORK)


def test_statistics_of_different_tensors_do_not_merge():
    fewer = example_histograms()
    del fewer["dead"]
    with pytest.raises(StatisticsError, match=r"only one of the two has 'dead'$"):
        statistics() + statistics(fewer)
    many = {f"t{number}": Histogram() for number in range(9)}
    with pytest.raises(StatisticsError, match="'t0', 't1', 't2' and 6 more"):
        statistics({}) + statistics(many)


def test_merging_with_anything_else_is_a_type_error():
    with pytest.raises(TypeError):
        statistics() + 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"network": ""}, "network is ''"),
        ({"mxnet_version": None}, "mxnet_version is None"),
        ({"num_examples": -1}, "num_examples is -1"),
        ({"num_batches": 1.5}, "num_batches is 1.5"),
        ({"histograms": {"x": 3}}, "tensor 'x' has int"),
        ({"histograms": {3: Histogram()}}, "tensor 3"),
    ],
)
def test_fields_of_the_wrong_kind_are_refused(change, complaint):
    with pytest.raises(StatisticsError, match=complaint):
        replace(statistics(), **change)


# Saved and loaded


def random_histogram(seed):
    rng = np.random.default_rng(seed)
    return Histogram.of((rng.standard_normal(rng.integers(1, 200)) * 10.0 ** rng.integers(-40, 38)).astype(np.float32))


@settings(deadline=None, max_examples=20, derandomize=True)
@given(names=st.sets(st.text(st.characters(exclude_categories=["Cs"])), max_size=4), seed=st.integers(0, 2**20))
def test_what_was_saved_is_loaded(tmp_path_factory, names, seed):
    path = tmp_path_factory.mktemp("tables") / "table.npz"
    saved = statistics({name: random_histogram(seed + number) for number, name in enumerate(sorted(names))})
    saved.save(path)
    assert Statistics.load(path) == saved
    assert Statistics.load(str(path), network=NETWORK) == saved


def test_large_counts_survive(tmp_path):
    many = Histogram.of(np.float32([1, 0, -3]))
    for _ in range(50):
        many = many + many
    statistics({"x": many, "y": Histogram.of(np.float32([2]))}).save(tmp_path / "table.npz")
    assert Statistics.load(tmp_path / "table.npz")["x"] == many


def test_the_name_of_the_file_is_taken_as_it_is(tmp_path):
    statistics().save(str(tmp_path / "calibration.table"))
    assert [path.name for path in tmp_path.iterdir()] == ["calibration.table"]


def test_equal_statistics_make_equal_files(tmp_path):
    reordered = dict(reversed(list(example_histograms().items())))
    statistics().save(tmp_path / "a.npz")
    statistics(reordered, channel_sums=example_sums()).save(tmp_path / "b.npz")
    statistics(num_batches=3).save(tmp_path / "c.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (tmp_path / "a.npz").read_bytes() != (tmp_path / "c.npz").read_bytes()


def test_the_file_is_a_few_plain_arrays(tmp_path):
    statistics({f"t{number}": random_histogram(number) for number in range(100)}).save(tmp_path / "table.npz")
    with np.load(tmp_path / "table.npz", allow_pickle=False) as members:
        dtypes = {name: members[name].dtype.kind for name in members.files}
    kinds = {"header": "u", "bins": "i", "range": "f", "special": "i", "counts": "u", "means": "i", "sums": "i"}
    assert dtypes == kinds


def test_a_table_of_version_1_can_be_read():
    found = Statistics.load(DATA / "statistics_v1.npz", network=NETWORK)
    assert found == statistics(channel_sums={})


# A file that cannot be written


def test_an_unwritable_place_is_named(tmp_path):
    with pytest.raises(OutputError, match="missing"):
        statistics().save(tmp_path / "missing" / "table.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failure):
    def fail(file, **arrays):
        file.write(b"half of ")
        raise failure

    path = tmp_path / "table.npz"
    statistics().save(path)
    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OutputError if isinstance(failure, OSError) else KeyboardInterrupt):
        statistics(num_batches=7).save(path)
    assert [each.name for each in tmp_path.iterdir()] == ["table.npz"]
    assert Statistics.load(path) == statistics()


# A file that is refused


def test_the_table_of_another_network_is_refused_unless_told_otherwise(tmp_path):
    statistics().save(tmp_path / "table.npz")
    with pytest.raises(StatisticsError, match=f"belongs to network {NETWORK}, not to {OTHER_NETWORK}.*network=None"):
        Statistics.load(tmp_path / "table.npz", network=OTHER_NETWORK)
    assert Statistics.load(tmp_path / "table.npz", network=None) == statistics()


def npy(array, allow_pickle=False):
    content = io.BytesIO()
    np.save(content, array, allow_pickle=allow_pickle)
    return content.getvalue()


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"layer,min,max\nconv0,-1,1\n",
        b"PK\x03\x04 cut off",
        npy(np.ones(3)),
        npz(weight=np.ones(3)),
        pickle.dumps({}),
    ],
    ids=["empty", "text", "zip head", "npy", "other npz", "pickle"],
)
def test_other_files_are_no_calibration_table(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(StatisticsError, match=r"calibration table.*file'|file' is no calibration table"):
        Statistics.load(tmp_path / "file")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "missing.npz", tmp_path):
        with pytest.raises(StatisticsError, match=re.escape(f"cannot read '{path}'")):
            Statistics.load(path)


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    statistics().save(tmp_path / "table.npz")
    content = (tmp_path / "table.npz").read_bytes()
    for length in range(0, len(content), 7):
        (tmp_path / "cut.npz").write_bytes(content[:length])
        with pytest.raises(StatisticsError):
            Statistics.load(tmp_path / "cut.npz")


def test_a_file_with_a_damaged_byte_is_refused_or_read_rightly(tmp_path):
    statistics().save(tmp_path / "table.npz")
    content = (tmp_path / "table.npz").read_bytes()
    refused = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x55
        (tmp_path / "damaged.npz").write_bytes(damaged)
        try:
            assert Statistics.load(tmp_path / "damaged.npz") == statistics()
        except StatisticsError:
            refused += 1
    assert refused > len(content) // 2


def tampered(path, header=None, **changes):
    """Write a table whose header or arrays are changed, with sound checksums."""
    statistics().save(path)
    with np.load(path) as members:
        arrays = {name: members[name] for name in members.files}
    about = {**json.loads(arrays["header"].tobytes()), **(header or {})}
    arrays["header"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    for name, change in changes.items():
        arrays[name] = change(arrays[name].copy())
    np.savez(path, **arrays)
    return path


def setting(index, value):
    def change(array):
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    ("header", "changes", "complaint"),
    [
        ({"format": "something else"}, {}, "no calibration table"),
        (
            {"version": 3, "mxquant_version": "7.0"},
            {},
            r"version 3, written by mxquant 7\.0.*up to version 2: upgrade",
        ),
        ({"version": "one"}, {}, "its version is 'one'"),
        ({"version": 0}, {}, "its version is 0"),
        ({"tensors": None}, {}, "no list of tensors"),
        ({"tensors": ["data", "dead", "dead", "unused"]}, {}, "names a tensor twice"),
        ({"tensors": ["data"]}, {}, "do not fit its 1 tensors"),
        ({"num_examples": "many"}, {}, "num_examples is 'many'"),
        ({"network": None}, {}, "network is None"),
        ({}, {"bins": lambda a: a[:3]}, "do not fit its 4 tensors"),
        ({}, {"range": lambda a: a.astype(np.int64)}, "do not fit its 4 tensors"),
        ({}, {"counts": lambda a: a[:-1]}, "counts, but its tensors have"),
        ({}, {"bins": setting((0, 2), -1)}, "counts, but its tensors have"),
        ({}, {"bins": setting((0, 0), 3)}, "tensor 'data': not a histogram: exponent is 3"),
        ({}, {"range": setting((2, 1), 2.5)}, "tensor 'relu0_output': not a histogram"),
        ({}, {"range": setting((2, 1), np.nan)}, "maximum nan"),
        ({}, {"special": setting((1, 0), 9)}, "tensor 'dead': not a histogram: zeros are 9"),
        ({}, {"means": lambda a: a[:3]}, "do not fit its 4 tensors"),
        ({}, {"means": setting((2, 1), 3)}, "sums of 2 channels, but its tensors have 3"),
        ({}, {"means": setting((2, 0), 0)}, "tensor 'relu0_output': not sums of channels"),
        ({}, {"sums": lambda a: a.astype(float)}, "do not fit its 4 tensors"),
        ({}, {"counts": lambda a: setting(0, 2**63)(a.astype(np.uint64))}, r"above 2\*\*63"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(tmp_path, header, changes, complaint):
    path = tampered(tmp_path / "table.npz", header, **changes)
    with pytest.raises(StatisticsError, match=complaint) as caught:
        Statistics.load(path)
    assert str(path) in str(caught.value)
    assert isinstance(caught.value, InputError)


def test_tampering_with_nothing_is_read(tmp_path):
    assert Statistics.load(tampered(tmp_path / "table.npz")) == statistics()


def test_a_missing_array_is_named(tmp_path):
    path = tampered(tmp_path / "table.npz")
    with np.load(path) as members:
        arrays = {name: members[name] for name in members.files if name != "special"}
    np.savez(path, **arrays)
    with pytest.raises(StatisticsError, match="special"):
        Statistics.load(path)


class Bomb:
    """Tells on itself when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


def with_member(path, member, content):
    """Replace one member of a sound table by other bytes."""
    with zipfile.ZipFile(tampered(path)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in {**members, f"{member}.npy": content}.items():
            archive.writestr(name, value)
    return path


@pytest.mark.parametrize("member", ["header", "counts"])
@pytest.mark.parametrize(
    "content", [npy(np.array([Bomb()], object), allow_pickle=True), pickle.dumps(Bomb()), npz(a=np.ones(1))]
)
def test_no_pickle_is_ever_read(tmp_path, member, content):
    with pytest.raises(StatisticsError, match="damaged"):
        Statistics.load(with_member(tmp_path / "table.npz", member, content))


@pytest.mark.parametrize("size", [2**44, 2**62, 2**70])
def test_an_array_that_claims_to_be_huge_is_refused(tmp_path, size):
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<i8", "fortran_order": False, "shape": (size,)})
    with pytest.raises(StatisticsError, match="damaged"):
        Statistics.load(with_member(tmp_path / "table.npz", "counts", content.getvalue()))


def test_a_small_table_that_unfolds_to_very_much_is_refused(tmp_path):
    path = tmp_path / "table.npz"
    tampered(path)
    with np.load(path) as members:
        arrays = {name: members[name] for name in members.files}
    np.savez_compressed(path, **{**arrays, "counts": np.zeros((1 << 26) + 1, np.uint8)})
    with pytest.raises(StatisticsError, match=r"its \d+ bytes would unfold to 671\d+, expected at most 67108864"):
        Statistics.load(path)
    # What nobody asks for is not counted, and not read.
    np.savez_compressed(path, **arrays, other=np.zeros((1 << 26) + 1, np.uint8))
    assert Statistics.load(path) == statistics()


def test_a_table_of_very_many_bytes_or_tensors_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "table.npz"
    statistics().save(path)
    for name, message in (
        ("_MOST_BYTES", "it has more than 3 bytes"),
        ("_MOST_TENSORS", "it names 4 tensors, expected"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(table, name, 3)
            with pytest.raises(StatisticsError, match=message):
                Statistics.load(path)


def test_bins_whose_sum_overflows_are_refused(tmp_path):
    def overflow(bins):
        bins[0, 2] += 2**62
        bins[1, 2] += 2**62
        bins[2, 2] += 2**62
        bins[3, 2] += 2**62
        return bins

    with pytest.raises(StatisticsError, match="contradicts itself: a tensor has .* bins"):
        Statistics.load(tampered(tmp_path / "table.npz", bins=overflow))
