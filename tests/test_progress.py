"""A progress bar on a terminal, silence elsewhere."""

from __future__ import annotations

import io
from typing import Any

from mxquant.progress import progress_bar


class Terminal(io.StringIO):
    """Says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(monkeypatch: Any, stream: io.StringIO) -> str:
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar("calibrating", 8) as progress:
        for done in (4, 8):
            if progress is not None:
                progress(done)
    return stream.getvalue()


def test_a_terminal_shows_what_is_done(monkeypatch: Any) -> None:
    shown = run(monkeypatch, Terminal())
    assert "calibrating" in shown
    assert "8/8" in shown


def test_elsewhere_nothing_is_written(monkeypatch: Any, capsys: Any) -> None:
    assert run(monkeypatch, io.StringIO()) == ""
    assert capsys.readouterr() == ("", "")
