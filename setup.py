"""Beside pyproject.toml: what the TOML files hold is built as JSON, too, a line each, read in a tenth of the time.

They stay the source: each is looked up there by its content, and parsed where it is not found (`roofline.reading`).
"""

import json
import tomllib
import zlib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


def tables(root: Path) -> bytes:
    """Every TOML file that is packaged, as a line of JSON.

    The first line has where each starts behind it, and its length, by the checksum and length of the file.
    """
    places, lines, end = {}, [], 0
    for folder in ("roofline", "hardware"):
        for path in sorted((root / folder).rglob("*.toml")):
            content = path.read_bytes()
            lines.append(_json(tomllib.loads(content.decode())))
            places[f"{zlib.crc32(content):08x}{len(content)}"] = end, len(lines[-1])
            end += len(lines[-1])
    return b"".join([_json(places), *lines])


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


class BuildPy(build_py):
    """Build the package, with its tables: of an editable installation beside the code."""

    def run(self) -> None:
        """Build."""
        super().run()
        to = Path("." if self.editable_mode else self.build_lib) / "roofline" / "tables.jsonl"
        to.write_bytes(tables(Path()))


if __name__ == "__main__":
    setup(cmdclass={"build_py": BuildPy})
