"""Options as type checkers see them are those that there are."""

import subprocess
import sys
import typing
from pathlib import Path

import pytest

from roofline.config import typed
from roofline.config.options import LISTS, NUMBERS, WORDS, read_options
from roofline.config.run import TrainConfig

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "maintain" / "write_options.py"


def test_every_option_has_a_type_and_a_reader():
    for options in (typed.Options, typed.ArrayOptions, typed.Choices):
        assert set(options.__annotations__) == set(TrainConfig.__struct_fields__)
    assert {*NUMBERS, *WORDS, *LISTS} == set(TrainConfig.__struct_fields__)


def test_every_word_of_a_type_is_read():
    hints = typing.get_type_hints(typed.Options)
    literals = {name: words for name, hint in hints.items() if (words := _words(hint))}
    assert {"dtype", "sharding", "recompute", "optimizer", "schedule", "fused"} <= literals.keys()
    for name, words in literals.items():
        for word in words:
            assert read_options({name: word})[name] is not None


def _words(hint):
    """The words of a Literal somewhere in a type."""
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    return next((found for part in typing.get_args(hint) if (found := _words(part))), ())


@pytest.mark.skipif(not (ROOT / "roofline").is_dir(), reason="the installed package is tested")
def test_the_written_types_are_current():
    pytest.importorskip("ruff")
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
