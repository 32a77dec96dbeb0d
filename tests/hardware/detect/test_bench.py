"""Short measurements of this CPU."""

import time
from typing import Any

import pytest

from roofline.hardware.detect.bench import (
    cache_bytes_per_s,
    clock_of,
    load_average,
    one_core,
    seconds,
    stream_bytes_per_s,
)


def test_one_core_is_measured_here_where_no_process_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_args: Any, **_kwargs: Any) -> None:
        raise PermissionError

    monkeypatch.setattr("subprocess.run", refused)
    assert one_core()["fp32"] > 0


def test_benchmarks_measure_something() -> None:
    assert len(seconds(lambda: None, budget_s=0.0)) == 3
    for threads in (1, 2):
        assert stream_bytes_per_s(2**20, threads, budget_s=0.01) > 1e6
        assert cache_bytes_per_s(2**14, threads, budget_s=0.01) > 1e6


def test_a_run_that_is_longer_than_the_budget_is_run_once_more_alone() -> None:
    assert len(seconds(lambda: time.sleep(0.01), budget_s=0.001)) == 1
    assert len(seconds(lambda: time.sleep(0.001), budget_s=0.01)) >= 3


def test_one_thread_is_timed_by_its_own_time() -> None:
    assert clock_of(1) is time.process_time
    assert clock_of(2) is time.perf_counter


def test_the_load_is_a_number_or_unknown() -> None:
    load = load_average()
    assert load is None or load >= 0
