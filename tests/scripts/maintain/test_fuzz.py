"""A few seeded cases of what the fuzzer throws at the newest readers; `scripts/check` runs more."""

import importlib
import signal

import pytest

from ...maintain import FOLDER


@pytest.fixture
def fuzz(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("fuzz")


@pytest.mark.parametrize(
    ("kind", "cases"),
    [("database", 40), ("toml", 15), ("config", 15), ("csv", 10), ("trace", 30), ("log", 20), ("run", 15)],
)
def test_odd_files_end_in_an_answer_or_one_line(fuzz, kind, cases, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    before = signal.signal(signal.SIGPROF, fuzz.ticked)
    try:
        problems = {number: fuzz.one_case(kind, number, seed=23, longest_s=60)[1] for number in range(cases)}
    finally:
        signal.signal(signal.SIGPROF, before)
    assert {number: problem for number, problem in problems.items() if problem} == {}
