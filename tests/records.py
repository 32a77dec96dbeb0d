"""What was recorded for tests: the rows of the tables in ``tests/data``."""

import csv
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "data"


def records(name: str) -> list[dict[str, Any]]:
    """The rows of a table: objects of a ``.jsonl``, or texts by column of a ``.csv``."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines] if name.endswith(".jsonl") else list(csv.DictReader(lines))
