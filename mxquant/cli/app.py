"""The command ``mxquant`` with its subcommands."""

from __future__ import annotations

from typing import Callable, Mapping, Sequence, Tuple

import typer

from mxquant.cli import bench, calibrate, compare, doctor, export, inspect, plan, quantize, score, sensitivity
from mxquant.shown import show
from mxquant.version import __version__

__all__ = ["COMMANDS", "app"]

# In the order of the help page.
COMMANDS: Mapping[str, Tuple[Callable[..., None], Sequence[str]]] = {
    "quantize": (quantize.quantize, quantize.EXAMPLES),
    "calibrate": (calibrate.calibrate, calibrate.EXAMPLES),
    "plan": (plan.plan, plan.EXAMPLES),
    "score": (score.score, score.EXAMPLES),
    "compare": (compare.compare, compare.EXAMPLES),
    "sensitivity": (sensitivity.sensitivity, sensitivity.EXAMPLES),
    "doctor": (doctor.doctor, doctor.EXAMPLES),
    "export": (export.export, export.EXAMPLES),
    "inspect": (inspect.inspect, inspect.EXAMPLES),
    "bench": (bench.bench, bench.EXAMPLES),
}

_ABOUT = """Post-training int8 quantization for Apache MXNet 1.9.

Results go to stdout, progress and logs to stderr.

Exit codes: 0 done, 1 a target is not reached, 2 bad options or input, 3 unexpected, 130 interrupted."""

app = typer.Typer(name="mxquant", no_args_is_help=True, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        show(f"mxquant {__version__}")
        raise typer.Exit


@app.callback(help=_ABOUT)
def _mxquant(
    version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True, callback=_version),
) -> None:
    """Say what the command is for; see :data:`_ABOUT`."""


for _name, (_function, _examples) in COMMANDS.items():
    app.command(_name, epilog="\n\n".join(["Examples:", *_examples]), no_args_is_help=True)(_function)
