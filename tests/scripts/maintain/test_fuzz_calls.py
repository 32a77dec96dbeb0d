"""Wrong types: a bounded part of what the script tries, of every function and parameter."""

import importlib.util
import sys
from pathlib import Path

import pytest

path = Path(__file__).parents[3] / "scripts" / "maintain" / "fuzz_calls.py"
spec = importlib.util.spec_from_file_location("fuzz_calls", path)
fuzz_calls = importlib.util.module_from_spec(spec)
sys.modules["fuzz_calls"] = fuzz_calls
spec.loader.exec_module(fuzz_calls)
SLOW = {"layouts", "plan"}  # a search each


@pytest.mark.parametrize("name", fuzz_calls.CALLS)
def test_wrong_types_end_in_one_sentence(name):
    tries = list(fuzz_calls.attempts({name: fuzz_calls.CALLS[name]}))
    failed = [
        f"{parameter}={words}: {type(error).__name__}: {error}"
        for _, parameter, words, call in tries[:: 17 if name in SLOW else 5]
        if (error := fuzz_calls.tried(call)) is not None
    ]
    assert failed == []
