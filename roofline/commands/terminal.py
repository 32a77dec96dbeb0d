"""The terminal's width. `shutil` has the same in a line, and takes the start-up of three compression libraries."""

from __future__ import annotations

import os
import sys

from ..reading import whole_number


def columns(otherwise: int) -> int:
    """Columns of the terminal, or what COLUMNS says; `otherwise` where standard output is a file or a pipe."""
    said = whole_number(os.environ.get("COLUMNS", ""))
    if said:
        return said
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or otherwise  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        return otherwise
