"""Every example of every help page works as it is printed."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from mxquant.cli.app import COMMANDS
from tests.cli.test_doctor import stand_in

PAGES = list(COMMANDS)


def examples(page: str) -> list[list[str]]:
    """Return the examples at the end of a help page, as words."""
    lines = page.split("Examples:", 1)[1].splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


@pytest.mark.parametrize("name", PAGES)
def test_examples_run_as_printed(name: str, folder: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    if importlib.util.find_spec("mxquant.doctor") is None:
        stand_in(monkeypatch)
    page = call(name, "--help")
    assert page.code == 0
    found = examples(page.out)
    assert len(found) >= 2
    for words in found:
        assert words[0] == "mxquant" and len(shlex.join(words)) <= 98
        done = call(*words[1:])
        assert done.code == 0, (words, done.err)


def test_the_main_page_lists_every_command_with_a_sentence(call: Any) -> None:
    page = call("--help").out
    assert [name for name in PAGES if not re.search(rf"^\W*{name} +[A-Z].*", page, re.M)] == []
