"""What is printed, logged or raised has nothing in it that a terminal or a reader would obey."""

from __future__ import annotations

import ast
import logging
import pickle
import sys
import unicodedata
import warnings
from pathlib import Path
from typing import Any, Iterator, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mxquant
from mxquant.errors import InputError, NonFiniteError
from mxquant.progress import progress_bar, reporting
from mxquant.shown import html_table, logger, printable

ROOT = Path(mxquant.__file__).parent
# Isolates, embeddings and overrides, and the marks, by their names in Unicode.
DIRECTIONS = {"LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI"}
MARKS = {"LEFT-TO-RIGHT MARK", "RIGHT-TO-LEFT MARK", "ARABIC LETTER MARK"}
BAD = "a\x1b[31mb\u202ec\udc80d\ne"
ESCAPED = r"a\x1b[31mb\u202ec\udc80d\ne"


def is_obeyed(character: str) -> bool:
    return (
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(character) in DIRECTIONS
        or unicodedata.name(character, "") in MARKS
    )


def test_of_all_characters_those_that_are_obeyed_are_escaped_and_no_others() -> None:
    # Six formatting characters that Unicode has deprecated are treated as their neighbours.
    deprecated = set(map(chr, range(0x206A, 0x2070)))
    every = map(chr, range(sys.maxunicode + 1))
    wrong = [hex(ord(c)) for c in every if c not in deprecated and (printable(c) != c) != is_obeyed(c)]
    assert not wrong


def test_escapes_are_those_of_python() -> None:
    assert printable(BAD) == ESCAPED
    assert printable("naïve 中文 עברית C:\\data") == "naïve 中文 עברית C:\\data"
    assert printable(Path("a\tb")) == r"a\tb"


@given(st.text(st.characters()))
def test_to_do_it_twice_changes_nothing_and_the_result_can_be_written(text: str) -> None:
    once = printable(text)
    assert printable(once) == once
    assert len(once.splitlines()) <= 1 and not any(map(is_obeyed, once))
    once.encode("utf-8")


def test_own_lines_stay_and_all_else_does_not() -> None:
    assert printable("a\nb\r\x1b", lines=True) == "a\nb\\r\\x1b"


def test_an_error_says_it_escaped_and_keeps_what_it_was_given() -> None:
    error = InputError(f"layer '{BAD}' is odd")
    assert str(error) == r"layer 'a\x1b[31mb\u202ec\udc80d" + "\ne' is odd"
    assert error.args == (f"layer '{BAD}' is odd",)
    found = pickle.loads(pickle.dumps(NonFiniteError("\x1b", 1, 2)))
    assert found.tensor == "\x1b" and str(found).startswith(r"tensor '\x1b'")


def test_a_record_is_escaped_before_any_handler_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "mxquant.some_test"):
        logger("mxquant.some_test").info("layer '%s' of %d", BAD, 3)
    assert caplog.messages == [f"layer '{ESCAPED}' of 3"]
    assert len(logger("mxquant.some_test").filters) == 1


def test_progress_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting(True), progress_bar(f"calibrating {BAD}", 2) as report:
        assert report is not None
        report(2, "shard \x1b")
    assert capsys.readouterr().err.startswith(rf"calibrating {ESCAPED}, shard \x1b: 2/2")


def test_a_bar_takes_no_word_of_a_name_for_its_own_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with reporting(True), progress_bar("calibrating [/bold]", 2) as report:
        assert report is not None
        report(1, "[/nothing]")


def test_tables_of_notebooks_are_escaped() -> None:
    table = html_table(BAD, [BAD], [[BAD]], [BAD])
    assert table.count(ESCAPED) == 4 and not any(map(is_obeyed, table))


def calls() -> Iterator[Tuple[str, ast.Call]]:
    """Yield the calls of all modules."""
    for path in sorted(ROOT.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        yield from ((str(path.relative_to(ROOT)), node) for node in calls)


def named(call: ast.Call) -> str:
    return ast.unparse(call.func) if sys.version_info >= (3, 9) else getattr(call.func, "attr", "")


@pytest.mark.skipif(sys.version_info < (3, 9), reason="ast.unparse is of Python 3.9")
def test_nothing_is_printed_logged_or_warned_of_by_another_way() -> None:
    found = {(name, named(call)) for name, call in calls()}
    assert {name for name, called in found if called == "print"} == {"shown.py"}
    # The command listens to the library; a module that speaks asks mxquant.shown for its logger.
    loggers = {name for name, called in found if called == "logging.getLogger"}
    # So do the checks of what MXNet says to its own loggers.
    assert {name for name in loggers if not name.startswith("compat/features/")} == {"shown.py", "cli/session.py"}
    warned = [call.args[0] for _, call in calls() if named(call) == "warnings.warn"]
    assert warned and all(ast.unparse(text).startswith("printable(") for text in warned)
    assert not {name for name, called in found if called.endswith(("stderr.write", "stdout.write"))}


def test_a_warning_of_a_file_is_escaped(tmp_path: Path) -> None:
    from tests.cli.conftest import tiny_network
    from tests.networks import images

    symbol, args, aux = tiny_network()
    prefix = tmp_path / "n\x1bet"
    model = mxquant.quantize(symbol, images(4, 3, 32, 32), arg_params=args, aux_params=aux, accuracy="fast")
    model.save(prefix)
    plan: Any = Path(f"{prefix}-plan.json")
    plan.write_text(model.plan.to_json(), encoding="utf-8")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mxquant.load(prefix)
    texts = [str(each.message) for each in caught]
    assert any(r"n\x1bet-plan.json' has no digest" in text for text in texts)
    assert not any("\x1b" in text for text in texts)
