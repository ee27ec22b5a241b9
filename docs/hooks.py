"""What MkDocs has to know of this project: a plot and tables that are made, and roles in docstrings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File
from target_tables import with_tables

PLOT = Path(__file__).parents[1] / "tests" / "benchmark" / "results" / "speed.png"


def on_files(files: Any, config: Any) -> Any:
    """Add the plot to the pages' images."""
    files.append(File.generated(config, "images/speed.png", abs_src_path=str(PLOT)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put the tables of what targets compute into their places."""
    return with_tables(markdown)


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Leave out what kind of thing a name is of, which only Sphinx reads."""
    return re.sub(r":(?:func|mod|class|meth|data):\s*(?=<code)", "", html)
