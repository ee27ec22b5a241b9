"""The numbers of ``python -m tests.benchmark`` as a Markdown table and as a plot."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any, Dict, Iterator, List, Tuple

from tests.benchmark.machine import described

__all__ = ["markdown", "plot"]

HEAD = ("what", "stock MXNet", "mxquant", "others")
Line = Tuple[str, str, str, str]


def markdown(results: Dict[str, Any]) -> str:
    """Return a table of the sections that were measured."""
    lines: List[Line] = [line for name, part in _PARTS.items() if name in results for line in part(results[name])]
    rows = [HEAD, ("---",) * 4, *lines]
    return "\n".join([described(results["machine"]), "", *(f"| {' | '.join(row)} |" for row in rows), ""])


def _calibration(found: Dict[str, Any]) -> Iterator[Line]:
    for count, seconds in found.items():
        forward, ours = median(seconds["forward"]), median(seconds["calibration"])
        text = f"{_span(seconds['calibration'])} s"
        what = f"entropy calibration, resnet50_v1, {count} images, beside plain forward passes"
        yield what, "", text, f"forward {forward:.2f} s: {ours / forward:.2f}x"


def _search(found: Dict[str, Any]) -> Iterator[Line]:
    for bins, seconds in found.items():
        stock = f"{1e3 * median(seconds['stock']):.0f} ms" if "stock" in seconds else ""
        yield f"entropy search, {int(bins):,} bins", stock, f"{1e3 * median(seconds['mxquant']):.1f} ms", ""


def _memory(found: List[Dict[str, Any]]) -> Iterator[Line]:
    for row in found:
        more = row["calibration"] - row["forward"]
        what = f"memory of calibration, {row['network']}, {row['images']:,} images"
        yield what, "", f"{row['calibration']:.0f} MB", f"forward passes {row['forward']:.0f} MB: {more:+.0f} MB"


def _tools(found: List[Dict[str, Any]]) -> Iterator[Line]:
    for title, key, unit in (
        ("quantization by entropy, ten images", "quantize_seconds", 1),
        ("int8, ten images", "int8_seconds", 1e3),
    ):
        for network in dict.fromkeys(row["network"] for row in found):
            rows = [row for row in found if row["network"] == network]
            cells = {tool: _cell([row for row in rows if row["tool"] == tool], key, unit) for tool in _tools_of(rows)}
            others = "; ".join(
                f"{tool} {text}" for tool, text in cells.items() if tool not in ("mxnet.contrib", "mxquant")
            )
            yield f"{title}, {network}", cells.get("mxnet.contrib", ""), cells.get("mxquant", ""), others


def _tools_of(rows: List[Dict[str, Any]]) -> List[str]:
    return list(dict.fromkeys(row["tool"] for row in rows))


def _cell(rows: List[Dict[str, Any]], key: str, unit: float) -> str:
    values = [unit * row[key] for row in rows if key in row]
    if not values:
        return "failed"
    return f"{median(values):.1f} {'s' if unit == 1 else 'ms'}"


def _inference(found: List[Dict[str, Any]]) -> Iterator[Line]:
    for row in found:
        if (row["batch"], row["threads"]) != (8, 2):
            continue
        fp32, stock, ours = (1e3 * median(row[kind]) for kind in ("fp32", "stock", "mxquant"))
        what = f"int8, batch 8, {row['network']}"
        yield (
            what,
            f"{stock:.1f} ms",
            f"{ours:.1f} ms",
            f"fp32 {fp32:.1f} ms: {fp32 / ours:.2f}x; stock {stock / ours:.2f}x",
        )
    ratios = [(median(row["stock"]) / median(row["mxquant"]), row) for row in found]
    least, row = min(ratios, key=lambda each: each[0])
    where = f"{row['network']}, batch {row['batch']}, {row['threads']} threads"
    yield f"the least gain over stock of {len(found)} cases", "", f"{least:.2f}x", where


def _startup(found: List[Dict[str, Any]]) -> Iterator[Line]:
    for network in dict.fromkeys(row["network"] for row in found):
        kinds = {
            kind: [row for row in found if (row["network"], row["kind"]) == (network, kind)]
            for kind in ("fp32", "stock", "mxquant", "compact")
        }
        size = {kind: rows[0]["megabytes"] for kind, rows in kinds.items()}
        compact = f"{size['mxquant']:.1f} MB, compact {size['compact']:.1f} MB"
        yield (
            f"parameter file, {network}",
            f"{size['stock']:.1f} MB",
            compact,
            f"fp32 {size['fp32']:.1f} MB: {size['compact'] / size['fp32']:.2f}x",
        )
        times = {
            kind: sum(1e3 * median(row[key] for row in rows) for key in ("load", "first"))
            for kind, rows in kinds.items()
        }
        ours = f"{times['mxquant']:.0f} ms, compact {times['compact']:.0f} ms"
        yield f"load and first batch of 8, {network}", f"{times['stock']:.0f} ms", ours, f"fp32 {times['fp32']:.0f} ms"


def _workers(found: List[Dict[str, Any]]) -> Iterator[Line]:
    for row in found:
        what = f"int8 resnet50_v1, {row['processes']} processes with {row['threads']} threads each"
        yield what, "", f"{row['images_per_second']:.0f} images/s", ""


_PARTS = {
    "calibration": _calibration,
    "tools": _tools,
    "search": _search,
    "memory": _memory,
    "inference": _inference,
    "startup": _startup,
    "workers": _workers,
}


def _span(values: List[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def plot(results: Dict[str, Any], path: Path) -> None:
    """Draw how much faster int8 is than fp32 for each network, with the stock tool and with mxquant."""
    if "inference" not in results:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in results["inference"] if (row["batch"], row["threads"]) == (8, 2)]
    figure, axes = pyplot.subplots(figsize=(9, 4.2), layout="constrained")
    for offset, (kind, label, colour) in enumerate(
        (("stock", "mxnet.contrib", "#9aa5b1"), ("mxquant", "mxquant", "#1f6feb"))
    ):
        gains = [median(row["fp32"]) / median(row[kind]) for row in rows]
        bars = axes.bar(
            [place + 0.4 * offset - 0.2 for place in range(len(rows))], gains, 0.38, label=label, color=colour
        )
        axes.bar_label(bars, [f"{gain:.1f}" for gain in gains], fontsize=8, padding=2)
    axes.axhline(1, color="#444", linewidth=0.8)
    axes.set_xticks(
        range(len(rows)), [row["network"].replace("efficientnet_", "effnet_") for row in rows], rotation=25, ha="right"
    )
    axes.set_ylabel("times as fast as fp32 in MXNet")
    machine = results["machine"]
    axes.set_title(f"int8 inference, batch 8, 2 threads ({machine['cpu']}, {machine['int8']})", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.2)
    axes.legend(frameon=False, loc="upper center", ncols=2)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
