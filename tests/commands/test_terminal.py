"""The width is what `shutil` finds, without importing it."""

import shutil
import subprocess
import sys

import pytest

from roofline.commands.terminal import columns


@pytest.mark.parametrize("said", ["60", "0", "wide", "-3", ""])
def test_the_width_is_that_of_the_library(said, monkeypatch):
    monkeypatch.setenv("COLUMNS", said)
    assert columns(91) == shutil.get_terminal_size((91, 24)).columns


def test_an_estimate_starts_without_what_it_does_not_use():
    code = (
        "import sys; from roofline.cli import main; main(['estimate', 'gpt2', '-d', 'l4']);"
        "print(sorted({'numpy', 'pandas', 'shutil', 'bz2', 'logging', 'yaml', 'roofline.tracing'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("said", ["9" * 5000, "²"])
def test_a_width_that_is_no_number_is_not_one(said, monkeypatch):
    monkeypatch.setenv("COLUMNS", said)
    assert columns(91) == 91
