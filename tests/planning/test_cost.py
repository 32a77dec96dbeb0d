"""What suffices with a confidence: log-normal through the 10th and the 90th percentile."""

from types import SimpleNamespace
from typing import Any

import pytest

from roofline.planning.cost import quantile

LAYOUT: Any = SimpleNamespace(step_time_s=2.0, step_time_low_s=1.6, step_time_high_s=2.5)
EVEN = (1.0, 1.0, 1.0)


def test_without_overhead_the_percentiles_are_those_of_the_step() -> None:
    assert quantile(LAYOUT, EVEN, 0.5) == 1
    assert quantile(LAYOUT, EVEN, 0.9) == pytest.approx(2.5 / 2.0)
    assert quantile(LAYOUT, EVEN, 0.1) == pytest.approx(1.6 / 2.0)


def test_errors_that_are_independent_add_in_squares() -> None:
    # 1.25 of the step and 1.25 of the overhead: exp(sqrt(2) * ln 1.25)
    assert quantile(LAYOUT, (1.0, 1.0, 1.25), 0.9) == pytest.approx(1.25**2**0.5)


def test_surer_is_more() -> None:
    found = [quantile(LAYOUT, (1.0, 1.3, 2.0), confidence) for confidence in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)]
    assert found == sorted(found)
