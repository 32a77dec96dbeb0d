"""Where time goes: each instant belongs to what ran in it."""

from types import SimpleNamespace
from typing import Any

import pytest

from roofline.profiling.timeline import COMMUNICATION, COMPUTE, COPYING, IDLE, LAUNCH, Slice, sweep


class Late:
    """The host is late with half of every gap."""

    def split(self, start: float, end: float, _: Slice | None) -> tuple[float, float]:
        return (end - start) / 2, 0.0


def swept(*pieces: tuple[float, float, int, str], window: tuple[float, float] = (0, 20)) -> Any:
    slices = [Slice(start, end, sort, term, row) for row, (start, end, sort, term) in enumerate(pieces)]
    return sweep(slices, [window], Late())  # type: ignore[arg-type]


def test_compute_hides_communication_and_copies_hide_it_too() -> None:
    line = swept(
        (0, 8, COMPUTE, "matmul"), (6, 14, COMMUNICATION, "dp"), (10, 12, COPYING, "copy"), (16, 20, COMPUTE, "other")
    )
    # 0-8 matmul; 8-10 and 12-14 communication alone; 10-12 the copy; 14-16 nothing; 16-20 other
    assert dict(line.terms[0]) == {"matmul": 8, "dp": 4, "copy": 2, LAUNCH: 1, IDLE: 1, "other": 4}
    assert sum(line.terms[0].values()) == 20
    assert line.exposed == {1: 4}
    assert (line.busy, line.communication, line.exposed_total) == (18, 8, 4)


def test_kernels_beside_each_other_share_the_instant() -> None:
    line = swept((0, 4, COMPUTE, "a"), (2, 4, COMPUTE, "b"), window=(0, 4))
    assert dict(line.terms[0]) == pytest.approx({"a": 3, "b": 1})


def test_what_lies_outside_of_windows_is_busy_and_in_no_term() -> None:
    line = swept((0, 4, COMPUTE, "a"), (10, 12, COMPUTE, "b"), window=(10, 12))
    assert dict(line.terms[0]) == {"b": 2}
    assert line.busy == 6


def test_a_kernel_without_length_is_nothing() -> None:
    assert swept((3, 3, COMPUTE, "a"), window=(0, 1)).busy == 0


def test_no_kernels() -> None:
    assert sweep([], [], SimpleNamespace()).terms == []  # type: ignore[arg-type]
