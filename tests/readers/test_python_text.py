"""Settings written as Python are read as text: nothing in them runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from roofline.errors import RooflineError
from roofline.readers.python_text import LONGEST, python_values


def test_assignments_and_their_arithmetic() -> None:
    text = "batch = 12\nlength: int = 2 * 512\nname = 'gpt'\ntokens = batch * length\nparts = [1, batch]\n"
    assert python_values(text, "s.py") == {
        "batch": 12,
        "length": 1024,
        "name": "gpt",
        "tokens": 12288,
        "parts": [1, 12],
    }


def test_keywords_of_calls_under_the_last_name_and_the_first_wins() -> None:
    text = "n = 4\nx = lib.Config(size=n, dtype=torch.bfloat16)\ny = Config(size=8, depth=2)\n"
    assert python_values(text, "s.py") == {"n": 4, "Config": {"size": 4, "dtype": "bfloat16", "depth": 2}}


def test_what_a_class_was_made_by() -> None:
    found = python_values("model = Llama.from_pretrained(name='x')", "s.py")
    assert found == {"from_pretrained": {"name": "x"}, "Llama": {"made_by": "from_pretrained"}}


def test_nothing_runs(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    assert python_values(f"a = open({str(mark)!r}, 'w')\nb = 9 ** 9 ** 9\nc = 3", "s.py") == {"c": 3}
    assert not mark.exists()


def test_what_is_no_python_is_one_line() -> None:
    for text in ("a = (", "a = 1\0"):
        with pytest.raises(RooflineError, match=r"^s\.py: not Python: "):
            python_values(text, "s.py")
    with pytest.raises(RooflineError, match="not a settings file"):
        python_values("#" * (LONGEST + 1), "s.py")
