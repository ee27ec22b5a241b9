"""What a shell sees: completion, start-up, a terminal, a pipe, and ``python -m mxquant.cli``."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List

import pytest

from mxquant.cli.app import COMMANDS

COMMAND = [sys.executable, "-m", "mxquant.cli"]


def run(words: List[str], environment: Dict[str, str], **more: str) -> Any:
    return subprocess.run(words, env={**environment, **more}, capture_output=True, text=True, timeout=60)


def completed(line: str, environment: Dict[str, str]) -> List[str]:
    """Return what bash offers at the end of a line."""
    told = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_MXQUANT_COMPLETE": "complete_bash"}
    done = run(COMMAND, environment, **told)
    assert done.returncode == 0
    return done.stdout.split()


def test_completion_lists_commands_and_options(environment: Dict[str, str]) -> None:
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda line: completed(line, environment), ["mxquant ", "mxquant plan --is"]))
    assert [sorted(each) for each in found] == [sorted(COMMANDS), ["--isa"]]


def test_a_line_is_completed_without_waiting_for_mxnet(environment: Dict[str, str]) -> None:
    told = {"COMP_WORDS": "mxquant ", "COMP_CWORD": "1", "_MXQUANT_COMPLETE": "complete_bash"}
    done = run([sys.executable, "-X", "importtime", *COMMAND[1:]], environment, **told)
    assert "quantize" in done.stdout.split() and "mxquant.cli.app" in done.stderr
    assert "mxnet" not in done.stderr


@pytest.mark.parametrize("words", ["--version", "plan", "score -m net --help"])
def test_who_asks_what_there_is_does_not_wait_for_mxnet(words: str, environment: Dict[str, str]) -> None:
    done = run([sys.executable, "-X", "importtime", *COMMAND[1:], *words.split()], environment)
    assert "mxquant" in done.stdout and "mxquant.cli.app" in done.stderr
    assert "mxnet" not in done.stderr


def test_a_script_that_completes_can_be_shown(folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The shell is found by looking at the parent process, or from this variable by typer's own tests.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = call("--show-completion", "bash")
    assert done.code == 0 and "_MXQUANT_COMPLETE=complete_bash" in done.out


def test_the_start_is_light_and_the_module_is_the_command(environment: Dict[str, str]) -> None:
    """Everything but MXNet, which ``import mxquant`` loads, is imported by the commands that need it."""
    code = """
import sys
import mxquant
before = set(sys.modules)
from mxquant.cli.running import run
assert run(["--help"]) == 0
new = set(sys.modules) - before
ours = ("mxquant.pipeline", "mxquant.planning.planner", "mxquant.model", "mxquant.stats")
print([name for name in ("numba", "onnx", "onnxruntime", "plotly", *ours) if name in new])
"""
    with ThreadPoolExecutor() as pool:
        light, help_page = pool.map(
            lambda words: run(words, environment), ([sys.executable, "-c", code], [*COMMAND, "--help"])
        )
    assert (light.stdout, light.stderr) == (f"{help_page.stdout}[]\n", "")
    assert (help_page.returncode, help_page.stderr) == (0, "")
    assert "Usage: mxquant" in help_page.stdout and "\x1b" not in help_page.stdout  # no colours in a pipe


def on_terminal(words: List[str], environment: Dict[str, str]) -> str:
    """Return what a command writes to a terminal."""
    main, terminal = pty.openpty()
    told = {**environment, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    process = subprocess.Popen([*COMMAND, *words], env=told, stdout=terminal, stderr=terminal, stdin=terminal)
    os.close(terminal)
    shown = b""
    while True:
        ready, _, _ = select.select([main], [], [], 60)
        try:
            part = os.read(main, 65536) if ready else b""
        except OSError:  # Linux says so at the end
            part = b""
        if not part:
            break
        shown += part
    os.close(main)
    assert process.wait(timeout=60) == 0, shown
    return shown.decode()


def test_a_terminal_shows_bars_with_rate_and_time_left(folder: Path, environment: Dict[str, str]) -> None:
    shown = on_terminal(["calibrate", "-m", "net", "-d", "calib.npy", "-b", "2", "-o", "s.npz"], environment)
    assert all(text in shown for text in ("calibrating", "/24", "/s", "left", "\x1b["))
    assert re.search(r"wrote +s.npz", shown)
