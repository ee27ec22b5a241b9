"""What workers have written: networks, how far each came, and what came out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

from tests.soak.check import Outcome

__all__ = ["FP32", "Entry", "read_journal"]

# Stages in which MXNet runs the network as it is, without mxquant.
FP32 = ("fp32", "fp32 by default")


@dataclass
class Entry:
    """A network: its description, the last stage that was begun, and the outcome, None if the process ended before."""

    description: str
    stage: str = ""
    outcome: Optional[Outcome] = None

    @property
    def is_death(self) -> bool:
        """Whether the process ended in the middle of it."""
        return self.outcome is None

    @property
    def is_finding(self) -> bool:
        """Whether the network has killed its process, but not in MXNet's own fp32, or came out wrong."""
        return self.stage not in FP32 if self.outcome is None else self.outcome.is_finding


def read_journal(path: Path) -> List[Entry]:
    """Return the entries of a journal, whose last line may be cut off."""
    entries: List[Entry] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            read = json.loads(line)
        except ValueError:
            break
        if "description" in read:
            entries.append(Entry(read["description"]))
        elif "stage" in read:
            entries[-1].stage = read["stage"]
        else:
            entries[-1].outcome = Outcome(**read["outcome"])
    return entries
