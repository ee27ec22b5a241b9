"""A process that checks random networks, or described ones, and writes what it does into a journal before it does it.

::

    python -m tests.soak.worker JOURNAL --seed S --count N
    python -m tests.soak.worker JOURNAL --descriptions FILE

Each line of the journal is JSON: a description, the stage that it has come to, or an outcome.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import asdict
from typing import Any, Callable, List, TextIO

import hypothesis
from hypothesis import HealthCheck, Phase

from tests.soak.check import check
from tests.soak.networks import Description, descriptions

__all__ = ["main"]


def main(arguments: List[str]) -> None:
    """Check networks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("journal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--descriptions")
    chosen = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    with open(chosen.journal, "a", encoding="utf-8") as journal:
        if chosen.descriptions is None:
            _random(chosen.seed, chosen.count, lambda each: _look(each, journal))
            return
        with open(chosen.descriptions, encoding="utf-8") as file:
            for line in file:
                _look(Description.loads(line), journal)


def _random(seed: int, count: int, look: Callable[[Description], None]) -> None:
    """Look at networks that have nothing in common: Hypothesis would make most of them from parts of earlier ones."""
    for number in range(count):
        look(_drawn(seed * 1000003 + number))


def _drawn(seed: int) -> Description:
    found: List[Description] = []

    # The first example is the simplest one, the second is random.
    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=2,
        phases=[Phase.generate],
        database=None,
        derandomize=False,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(descriptions())
    def each(description: Description) -> None:
        found.append(description)

    each()
    return found[-1]


def _look(description: Description, journal: TextIO) -> None:
    def write(key: str, value: Any) -> None:
        print(json.dumps({key: value}), file=journal, flush=True)

    write("description", description.dumps())
    write("outcome", asdict(check(description, lambda name: write("stage", name))))


if __name__ == "__main__":
    main(sys.argv[1:])
