"""int8 networks and plans that commands read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mxquant.cli.files import prefix_and_epoch
from mxquant.errors import InputError, PlanError
from mxquant.files.regular import missing

if TYPE_CHECKING:
    from mxquant.cli.network import Net
    from mxquant.model.quantized_model import QuantizedModel
    from mxquant.plan import QuantPlan
    from mxquant.stats import Statistics

__all__ = ["int8_of", "plan_of", "statistics_of"]


def int8_of(net: Net, prefix: str) -> QuantizedModel:
    """Read an int8 network that was made of `net`, from ``PREFIX[:EPOCH]``.

    Raises
    ------
    InputError
        If it cannot be read, or was made of another network.
    """
    from mxquant.model.quantized_model import load

    name, epoch = prefix_and_epoch(prefix)
    plan = Path(f"{name}-plan.json")
    if not plan.is_file():
        raise InputError(f"--int8: {missing(plan)}, which 'mxquant quantize --out {name}' writes")
    model = load(name, epoch)
    if model.plan.network != net.digest:
        raise PlanError(f"--int8: '{name}' was made of another network than '{net.title}'; quantize it again")
    return model


def plan_of(path: Path) -> QuantPlan:
    """Read a plan; raises PlanError."""
    from mxquant.plan import QuantPlan

    return QuantPlan.load(path)


def statistics_of(net: Net, path: Path) -> Statistics:
    """Read statistics of `net`; raises StatisticsError."""
    from mxquant.stats import Statistics

    if not path.is_file():
        raise InputError(f"--statistics: {missing(path)}")
    return Statistics.load(path, net.digest)
