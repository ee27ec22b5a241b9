"""Random networks are quantized rightly or refused with reason; what would show it if not is shown to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

from tests.soak import check as checking
from tests.soak.check import check
from tests.soak.journal import Entry, read_journal
from tests.soak.networks import Description, Input, Layer
from tests.soak.random_networks import main, soak, summary
from tests.soak.reduction import reduced

COUNT, SEED = 100, 21
OPTIONS = {
    "target": "onednn",
    "method": "minmax",
    "mode": "smart",
    "dtype": "auto",
    "granularity": "channel-wise",
    "accuracy": "plain",
}
SMALL = Description(
    (Input("data", (4, 3, 8, 8), "normal"),),
    (
        Layer("Convolution", "слой", (0,), {"kernel": (3, 3), "num_filter": 8}),
        Layer("Activation", None, (1,), {"act_type": "relu"}),
        Layer("FullyConnected", "two words", (2,), {"num_hidden": 4}),
    ),
    (3, (2, 3)),
    options=OPTIONS,
)


def test_random_networks_are_right_or_refused_with_reason(tmp_path: Path) -> None:
    entries = soak(COUNT, SEED, tmp_path, workers=1, share=COUNT)
    found = [(entry.stage, entry.outcome, entry.description) for entry in entries if entry.is_finding]
    assert not found, found
    counts = summary(entries)
    assert counts["networks"] == COUNT
    # Most networks run, and much of them in int8.
    assert counts["verdicts"]["right"] > 0.6 * COUNT and counts["int8 layers"] > 0.4 * COUNT


def test_a_description_is_the_same_after_a_file() -> None:
    assert Description.loads(SMALL.dumps()) == SMALL
    first, second = SMALL.material(), Description.loads(SMALL.dumps()).material()
    assert first.symbol.tojson() == second.symbol.tojson()
    assert first.symbol.list_outputs() == ["two words_output", "activation0_output", "two words_output"]
    assert all((first.args[name] == value).asnumpy().all() for name, value in second.args.items())
    np.testing.assert_array_equal(first.data["data"], second.data["data"])


def test_a_description_of_before_there_were_types_and_batches_is_read() -> None:
    older = json.loads(SMALL.dumps())
    del older["dtype"], older["batches"]
    assert Description.loads(json.dumps(older)) == SMALL


FIXED = Layer("Reshape", "flat", (2,), {"shape": (4, 288)})
SEQUENCE = (Input("data", (5, 4, 3), "normal"), Input("lengths", (4,), "lengths 5"))
DENSE = Layer("FullyConnected", "dense", (0,), {"num_hidden": 6, "flatten": False})
SEEN = {
    "one batch size": replace(
        SMALL, layers=(*SMALL.layers[:2], FIXED, replace(SMALL.layers[2], reads=(3,))), heads=(4,)
    ),
    "float16": replace(
        SMALL,
        layers=(Layer("Cast", "cast", (0,), {"dtype": "float16"}), replace(SMALL.layers[0], reads=(1,))),
        heads=(2,),
        dtype="float16",
    ),
    "lengths": Description(
        SEQUENCE,
        (replace(DENSE, reads=(0,)), Layer("SequenceMask", "mask", (2, 1), {"use_sequence_length": True})),
        (3,),
        options=OPTIONS,
    ),
    "all results": Description(
        (Input("data", (4, 9), "normal"),),
        (DENSE, Layer("topk", "best", (1,), {"k": 2, "axis": 1, "ret_typ": "both"}, result=-1)),
        (2, 1),
        options=OPTIONS,
    ),
    "label": Description(
        (Input("data", (4, 9), "normal"),),
        (DENSE, Layer("SoftmaxOutput", "softmax", (1,), {"label": (2, 2)})),
        (2,),
        options=OPTIONS,
    ),
}


@pytest.mark.parametrize("kind", SEEN)
@pytest.mark.parametrize("accuracy", ["plain", "balanced"])
def test_what_networks_are_seldom_like_is_judged_as_others_are(kind: str, accuracy: str) -> None:
    network = replace(SEEN[kind], options={**OPTIONS, "accuracy": accuracy}, batches=2)
    assert Description.loads(network.dumps()) == network
    outcome = check(network)
    assert (outcome.verdict, outcome.int8 > 0) == ("right", True)
    assert outcome.excess is not None and -30 < outcome.excess < 0


def test_places_of_values_are_not_compared_but_are_places() -> None:
    assert SEEN["all results"].places() == [False, True, False]
    assert SEEN["float16"].material().checkpoint[1]["слой_weight"].dtype == np.float16
    assert not checking._strange_places([True, False], [np.array([0.0, 3.0]), np.array([0.5])])
    assert checking._strange_places([True, False], [np.array([0.5]), np.array([0.5])])


@pytest.mark.parametrize("target", ["onednn", "onnx_qdq", "cudnn"])
def test_a_usual_network_is_right_on_every_target(target: str) -> None:
    outcome = check(replace(SMALL, options={**OPTIONS, "target": target}))
    assert (outcome.verdict, outcome.same) == ("right", True)
    assert outcome.excess is not None and -30 < outcome.excess < 0


def test_a_code_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    quantized = checking.quantized

    def wrong(*arguments: Any) -> Any:
        made = quantized(*arguments)
        return made._replace(run=lambda data: [1.1 * value for value in made.run(data)])

    monkeypatch.setattr(checking, "quantized", wrong)
    assert check(replace(SMALL, heads=(3,))).verdict == "wrong"


def test_a_bias_lost_where_a_channel_has_no_weights_on_huge_data_is_predicted() -> None:
    layers = (Layer("FullyConnected", "n0", (0,), {"num_hidden": 4, "flatten": False}), Layer("sigmoid", "n1", (1,)))
    found = check(Description((Input("data", (1, 1), "huge"),), layers, (2,), "mixed", OPTIONS))
    assert (found.verdict, found.int8) == ("right", 1)
    assert found.excess is not None and -10 < found.excess < 0


def test_an_exception_of_another_kind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(checking, "quantized", broken)
    outcome = check(SMALL)
    assert (outcome.verdict, outcome.is_finding) == ("raised", True)
    assert "IndexError: list index out of range" in outcome.detail


def test_a_network_that_mxnet_refuses_says_nothing_of_mxquant() -> None:
    layer = Layer("Pooling", "pool", (0,), {"kernel": (9, 9), "pool_type": "max"})
    assert check(Description(SMALL.inputs, (layer,), (1,), options=OPTIONS)).verdict == "invalid"


DYING = """
import json, os, signal, sys
with open(sys.argv[1], "a") as file:
    for number in range(int(sys.argv[sys.argv.index("--count") + 1])):
        print(json.dumps({"description": "network"}), json.dumps({"stage": "int8"}), sep="\\n", file=file, flush=True)
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        outcome = {"verdict": "right", "detail": "", "excess": -9.0, "same": True, "int8": 1}
        print(json.dumps({"outcome": outcome}), file=file, flush=True)
"""


def test_a_process_that_dies_is_counted_and_another_goes_on(tmp_path: Path) -> None:
    entries = soak(8, 0, tmp_path, workers=1, worker=("-c", DYING))
    found = summary(entries)
    assert (found["networks"], found["deaths"], found["deaths by stage"]) == (8, 2, {"int8": 2})
    assert found["verdicts"] == {"right": 6}


def test_a_network_that_kills_mxnet_in_fp32_says_nothing_of_mxquant(tmp_path: Path) -> None:
    entries = soak(8, 0, tmp_path, workers=1, worker=("-c", DYING.replace('"int8"}', '"fp32"}')))
    found = summary(entries)
    assert (found["deaths"], found["deaths in MXNet's own fp32"], found["failed"]) == (0, 2, 0)


def test_the_last_line_of_a_journal_may_be_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text(json.dumps({"description": "network"}) + '\n{"stage": "quan', encoding="utf-8")
    assert read_journal(path) == [Entry("network")]
    assert read_journal(tmp_path / "none") == []


def test_a_failing_network_is_made_smaller() -> None:
    def fails(networks: List[Description]) -> List[bool]:
        return [any(layer.op == "Activation" for layer in each.layers) for each in networks]

    found = reduced(SMALL, fails)
    assert [layer.op for layer in found.layers] == ["Activation"]
    assert found.heads == (1,)


def test_a_described_network_is_checked_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "network.json"
    path.write_text(SMALL.dumps() + "\n", encoding="utf-8")
    assert main(["--again", str(path)]) == 0
    assert json.loads(capsys.readouterr().out)["verdicts"] == {"right": 1}
