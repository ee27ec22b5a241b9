"""Nothing is reported by default; a bar on a terminal, lines in a pipe, or calls of the user's function on request."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any, List, Tuple

import pytest

import mxquant
from mxquant import progress as module
from mxquant.errors import InputError
from mxquant.progress import progress_bar, reporting
from mxquant.runtime.mxnet import mx
from tests.networks import conv, images, random_params, relu


class Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(monkeypatch: Any, stream: io.StringIO, progress: Any) -> str:
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with reporting(progress), progress_bar("calibrating", 8) as report:
        for done in (4, 8):
            if report is not None:
                report(done)
    return stream.getvalue()


def test_a_terminal_shows_what_is_done_its_rate_and_the_time_left(monkeypatch: Any) -> None:
    shown = run(monkeypatch, Terminal(), True)
    assert all(text in shown for text in ("calibrating", "8/8", "/s", "left"))


def test_a_pipe_gets_lines(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.0)
    first, second, last = run(monkeypatch, io.StringIO(), True).splitlines()
    assert first.startswith("calibrating: 4/8, ") and first.endswith("s left")
    assert second.startswith("calibrating: 8/8, ") and last.startswith("calibrating: 8/8, ")


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_by_default_nothing_is_written(monkeypatch: Any, capsys: Any, stream: Any) -> None:
    assert run(monkeypatch, stream(), False) == ""
    assert capsys.readouterr() == ("", "")


def test_a_function_is_called_with_step_done_and_total() -> None:
    calls: List[Tuple[Any, ...]] = []
    with reporting(lambda *call: calls.append(call)), progress_bar("calibrating", None) as report:
        assert report is not None
        report(3)
    assert calls == [("calibrating", 3, None)]
    with progress_bar("calibrating", 1) as report:
        assert report is None


def test_anything_else_is_refused() -> None:
    with pytest.raises(InputError, match="progress is 'yes', expected True, False or a callable"), reporting("yes"):  # type: ignore[arg-type]
        pass


def small() -> Tuple[Any, Any, Any]:
    symbol = relu(conv(relu(conv(mx.sym.var("data"), "c1")), "c2"))
    data = images(8, 4, 8, 8)
    args, aux = random_params(symbol, data=data.shape)
    return symbol, {"arg_params": args, "aux_params": aux}, data


def test_every_call_that_takes_long_reports_its_steps() -> None:
    symbol, params, data = small()
    steps: List[str] = []

    def note(step: str, done: int, total: Any) -> None:
        steps.append(step)

    mxquant.calibrate(symbol, data, progress=note, **params)
    model = mxquant.quantize(symbol, data, progress=note, **params)
    mxquant.sensitivity(symbol, data, progress=note, **params)
    mxquant.compare(symbol, model, data, progress=note, **params)
    assert set(steps) == {"calibrating", "improving", "measuring layers", "comparing layers"}


def test_neither_mxquant_nor_mxnet_writes_anything_by_itself(tmp_path: Path) -> None:
    code = """
import tests.test_progress as this, mxquant
from mxquant.runtime.mxnet import mx
symbol, params, data = this.small()
model = mxquant.quantize(symbol, data, **params)
mxquant.compare(symbol, model, data, **params)
mxquant.sensitivity(symbol, data, **params)
mxquant.lower(symbol, model.plan, target="simulate", **params)
model.as_block()(mx.nd.array(data)).wait_to_read()
model.save("int8")
mxquant.load("int8").as_block()(mx.nd.array(data)).wait_to_read()
"""
    root = str(Path(__file__).parents[1])
    environment = {"PYTHONPATH": root, "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_a_step_may_say_a_word_on_what_is_done(monkeypatch: Any, stream: Any) -> None:
    shown = stream()
    monkeypatch.setattr("sys.stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    with reporting(True), progress_bar("calibrating", 8) as report:
        assert report is not None
        report(8, "shard 2 of 2")
    assert "calibrating, shard 2 of 2" in shown.getvalue()


def test_a_function_is_not_told_the_word() -> None:
    calls: List[Tuple[Any, ...]] = []
    with reporting(lambda *call: calls.append(call)), progress_bar("calibrating", 8) as report:
        assert report is not None
        report(8, "shard 2 of 2")
    assert calls == [("calibrating", 8, 8)]
