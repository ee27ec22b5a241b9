"""JSON of files is read within bounds."""

from __future__ import annotations

import pytest

from mxquant.errors import PlanError
from mxquant.files import reading as _json
from mxquant.files.reading import parse_json, read_json, read_text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a": ' * 100_000, "nested too deeply"),
        ("[" + "[],[]," * 1_100_000 + "0]", "it has some 4400001 values, expected at most 4194304"),
        ('{"version": ' + "7" * 5000 + "}", "a number has 5000 digits"),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "'b' stands twice"),
    ],
)
def test_what_could_harm_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_what_is_sound_is_read() -> None:
    assert parse_json('{"a": [1, -2.5, null, true, "x"]}') == {"a": [1, -2.5, None, True, "x"]}


def test_files_are_named_with_what_they_are_for(tmp_path, monkeypatch) -> None:
    path = tmp_path / "plan.json"
    with pytest.raises(PlanError, match="cannot read the plan '.*plan.json': No such file"):
        read_text(path, PlanError, "the plan")
    path.write_bytes(b"\xff")
    with pytest.raises(PlanError, match="cannot read the plan '.*plan.json': .*can't decode"):
        read_text(path, PlanError, "the plan")
    path.write_text("{")
    with pytest.raises(PlanError, match="cannot read the plan '.*plan.json': it is no JSON: "):
        read_json(path, PlanError, "the plan")
    monkeypatch.setattr(_json, "_MOST_BYTES", 0)
    with pytest.raises(PlanError, match="it has more than 0 bytes"):
        read_json(path, PlanError, "the plan")
