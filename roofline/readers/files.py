"""Files that a run file names: looked for beside it, never outside its folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BASES = "_configs"  # beside a file: the bases it extends
MOST_FILES = 40  # that one run may open


def under(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` over `base`, table by table."""
    merged = dict(base)
    for key, value in top.items():
        before = merged.get(key)
        merged[key] = under(before, value) if isinstance(value, Mapping) and isinstance(before, Mapping) else value
    return merged


def look_up(name: str, beside: Path, folders: Sequence[str]) -> Path | None:
    """A file named in a run file: beside it, or in the bases' folder beside it; None where it is not, or outside."""
    root = beside.parent
    inside = root.resolve()
    for folder in ("", *folders):
        for candidate in (root / folder / name, root / folder / Path(name).name):
            try:
                real = candidate.resolve()
                if real.is_relative_to(inside) and real.is_file():
                    return candidate
            except (OSError, RuntimeError, ValueError):  # a circle of links is the second
                continue
    return None
