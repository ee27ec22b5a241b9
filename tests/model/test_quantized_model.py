"""The int8 checkpoint is MXNet's own: it runs where mxquant cannot be imported, in every way MXNet runs a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, List

import numpy as np
import pytest

import mxquant
from mxquant import InputError, OutputError, QuantPlan
from mxquant.files.replacing import digest_of
from mxquant.files.turns import turn_in
from mxquant.runtime.mxnet import mx
from tests.networks import forward, sqnr, zoo

# `None` in sys.modules makes an import fail.
RUN_WITHOUT_MXQUANT = """
import sys
import tests.mxnet_first
sys.modules["mxquant"] = None
import numpy as np
import mxnet as mx
prefix = "int8"
data = mx.nd.array(np.load("data.npy"))
symbol, args, aux = mx.model.load_checkpoint(prefix, 0)

module = mx.mod.Module(symbol, data_names=["data"], label_names=None)
module.bind([("data", data.shape)], for_training=False)
module.set_params(args, aux)
module.forward(mx.io.DataBatch([data]), is_train=False)
results = [module.get_outputs()[0].asnumpy()]

block = mx.gluon.SymbolBlock.imports(prefix + "-symbol.json", ["data"], prefix + "-0000.params")
results.append(block(data).asnumpy())
block.hybridize(static_alloc=True, static_shape=True)
results += [block(data).asnumpy() for _ in range(3)]
np.save("results.npy", np.stack(results))
"""


@pytest.fixture(scope="module")
def network() -> Any:
    return zoo("mobilenetv2_0.25")


@pytest.fixture(scope="module")
def quantized(network: Any) -> Any:
    symbol, args, aux, data = network
    return mxquant.quantize(symbol, data, arg_params=args, aux_params=aux)


def test_the_checkpoint_runs_without_mxquant(network: Any, quantized: Any, tmp_path: Path) -> None:
    data = network[3]
    quantized.save(tmp_path / "int8")
    np.save(tmp_path / "data.npy", data)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-c", RUN_WITHOUT_MXQUANT]
    subprocess.run(command, cwd=str(tmp_path), env=environment, check=True, capture_output=True)
    (expected,) = forward(quantized.symbol, quantized.arg_params, quantized.aux_params, data=data)
    for result in np.load(tmp_path / "results.npy"):
        np.testing.assert_array_equal(result, expected)
    (reference,) = forward(*network[:3], data=data)
    assert sqnr(reference, expected) >= 30


def test_the_outputs_keep_their_names(network: Any, quantized: Any) -> None:
    assert quantized.symbol.list_outputs() == network[0].list_outputs()


def test_a_block_runs_as_the_fp32_one_does(network: Any, quantized: Any) -> None:
    data = network[3]
    (expected,) = forward(quantized.symbol, quantized.arg_params, quantized.aux_params, data=data)
    np.testing.assert_array_equal(quantized.as_block()(mx.nd.array(data)).asnumpy(), expected)


def test_the_plan_is_saved_beside_it(quantized: Any, tmp_path: Path) -> None:
    quantized.save(tmp_path / "net", epoch=7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net-0007.params", "net-plan.json", "net-symbol.json"]
    assert QuantPlan.load(tmp_path / "net-plan.json") == quantized.plan


def test_nothing_is_left_where_it_cannot_be_written(quantized: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write '.*absent/net-0000.params': No such file"):
        quantized.save(tmp_path / "absent" / "net")
    (tmp_path / "net-symbol.json").mkdir()
    with pytest.raises(OutputError, match="net-symbol.json"):
        quantized.save(tmp_path / "net")
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("mixed", ["net-0000.params", "net-symbol.json"])
def test_files_of_two_networks_are_not_loaded_together(mixed: str, network: Any, tmp_path: Path) -> None:
    symbol, args, aux, data = network
    for name, scale in (("net", 1), ("other", 2)):
        mxquant.quantize(symbol, data * scale, arg_params=args, aux_params=aux, accuracy="fast").save(tmp_path / name)
    mxquant.load(tmp_path / "net")
    (tmp_path / mixed.replace("net", "other")).replace(tmp_path / mixed)
    with pytest.raises(InputError, match=f"'.*{mixed}' is not the file that was written with '.*net-plan.json'"):
        mxquant.load(tmp_path / "net")


def test_a_plan_that_does_not_say_its_files_is_loaded_with_any_and_that_is_told(quantized: Any, tmp_path: Path) -> None:
    quantized.save(tmp_path / "net")
    whole = json.loads((tmp_path / "net-plan.json").read_text())
    quantized.plan.save(tmp_path / "net-plan.json")
    with pytest.warns(
        UserWarning, match="not verified: '.*net-plan.json' has no digest of '.*params' and '.*symbol.js"
    ):
        assert mxquant.load(tmp_path / "net").plan == quantized.plan
    del whole["files"]["params"]
    (tmp_path / "net-plan.json").write_text(json.dumps(whole))
    with pytest.warns(UserWarning, match="not verified: '.*net-plan.json' has no digest of '.*net-0000.params', which"):
        mxquant.load(tmp_path / "net")


@pytest.mark.parametrize("files", [None, [], "text", {"params": 5}, {"symbol": ["x"]}])
def test_digests_of_another_form_are_refused(files: Any, quantized: Any, tmp_path: Path) -> None:
    quantized.save(tmp_path / "net")
    document = json.loads((tmp_path / "net-plan.json").read_text())
    (tmp_path / "net-plan.json").write_text(json.dumps({**document, "files": files}))
    with pytest.raises(mxquant.PlanError, match="has files .*, expected digests by name"):
        mxquant.load(tmp_path / "net")


def test_without_a_symbol_nothing_is_loaded(quantized: Any, tmp_path: Path) -> None:
    quantized.save(tmp_path / "net")
    (tmp_path / "net-symbol.json").unlink()
    with pytest.raises(InputError, match="there is no file '.*net-symbol.json'"):
        mxquant.load(tmp_path / "net")


def test_who_loads_waits_until_who_saves_is_done(quantized: Any, tmp_path: Path) -> None:
    quantized.save(tmp_path / "net")
    symbol = tmp_path / "net-symbol.json"
    content = symbol.read_bytes()
    found: List[Any] = []
    reader = threading.Thread(target=lambda: found.append(mxquant.load(tmp_path / "net")))
    with turn_in(tmp_path):
        symbol.unlink()
        reader.start()
        reader.join(0.5)
        assert reader.is_alive()
        symbol.write_bytes(content)
    reader.join()
    assert found[0].plan == quantized.plan


def test_a_file_that_goes_away_while_it_is_loaded_is_named(quantized: Any, tmp_path: Path, monkeypatch: Any) -> None:
    quantized.save(tmp_path / "net")

    def gone(path: str) -> str:
        if path.endswith("symbol.json"):
            Path(path).unlink()
        return digest_of(path)

    with monkeypatch.context() as patched:
        patched.setattr("mxquant.model.quantized_model.digest_of", gone)
        with pytest.raises(InputError, match="net-symbol.json' is not the file that was written with"):
            mxquant.load(tmp_path / "net")


def test_the_callers_parameters_stay_as_they_are(network: Any) -> None:
    symbol, args, aux, data = network
    before = {name: value.asnumpy() for name, value in {**args, **aux}.items()}
    result = mxquant.quantize(symbol, data, arg_params=args, aux_params=aux, granularity="tensor-wise")
    forward(result.symbol, result.arg_params, result.aux_params, data=data)
    for name, value in {**args, **aux}.items():
        np.testing.assert_array_equal(value.asnumpy(), before[name])


def test_a_block_for_another_cpu_is_warned_about(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    symbol, args, aux, data = network
    plans = {"arg_params": args, "aux_params": aux, "accuracy": "fast"}
    with_vnni, without = (mxquant.quantize(symbol, data, isa=isa, **plans) for isa in ("vnni", "avx2"))
    monkeypatch.setattr("mxquant.lowering.level_warnings.detect", lambda: "avx2")
    with pytest.warns(UserWarning, match="level 'vnni', this one has 'avx2': .* isa='portable' .* or isa='avx2'"):
        with_vnni.as_block()
    without.as_block()
