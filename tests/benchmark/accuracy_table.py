"""The table of the accuracy benchmark, line by line as results come in."""

from __future__ import annotations

from typing import Any, Callable, Iterable, List, NamedTuple

from tests.benchmark.accuracy_rows import Result

__all__ = ["print_table"]


class Column(NamedTuple):
    """A title, alignment and width, and what stands in it."""

    title: str
    format: str
    cell: Callable[[Result], str]


def _number(key: str, form: str) -> Callable[[Result], str]:
    def cell(result: Result) -> str:
        numbers: Any = result.numbers
        return format(numbers[key], form)

    return cell


NAMES = (Column("method", "<31", lambda r: r.method), Column("isa", "<9", lambda r: r.isa))
SCORES = (
    Column("SQNR dB", ">8", lambda r: f"{r.sqnr_db:.2f}"),
    Column("top-1", ">7", lambda r: f"{r.top1_same}/{r.images}"),
    Column("crops", ">9", lambda r: f"{r.crops_same}/{r.crops}" if r.crops else "-"),
    Column("int8 MACs", ">11", _number("mac_share", ".1%")),
    Column("quantize s", ">12", _number("quantize_seconds", ".1f")),
    Column("fp32 s", ">9", _number("fp32_seconds", ".4f")),
    Column("int8 s", ">9", _number("int8_seconds", ".4f")),
)


def print_table(network: str, results: Iterable[Result]) -> List[Result]:
    """Print one network's results.

    Parameters
    ----------
    network : str
        Its name.
    results : iterable of Result
        Measured while they are printed.

    Returns
    -------
    list of Result
        The same.
    """
    print(f"\n{network}\n{''.join(format(column.title, column.format) for column in (*NAMES, *SCORES))}")
    done = []
    for result in results:
        print(_line(result), flush=True)
        done.append(result)
    offsets = [result.fp32_off_mxnets for result in done if result.fp32_off_mxnets is not None]
    if offsets:
        print(f"fp32 logits of all engines are MXNet's to {max(offsets):.0e} of the largest")
    return done


def _line(result: Result) -> str:
    names = "".join(format(column.cell(result), column.format) for column in NAMES)
    if result.error:
        return f"{names} {result.error}"
    scores = "".join(format(column.cell(result), column.format) for column in SCORES)
    return f"{names}{scores}"
