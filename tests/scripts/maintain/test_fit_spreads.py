"""Spreads are fitted to the misses they stand for, and judged by the interval score."""

from statistics import NormalDist

import pytest

from roofline.timing.interval import Z80
from roofline.validation.runs import Prediction

from ...maintain import script

fit_spreads = script("fit_spreads")


def rows_of(deviation, **variances):
    """A hundred rows whose misses have a normal distribution."""
    misses = [abs(NormalDist(0, deviation).inv_cdf((i + 0.5) / 100)) for i in range(100)]
    prediction = Prediction(row={"id": "source-1"}, variances=variances)
    return [fit_spreads.Row(prediction, miss, 1.0) for miss in misses]


def test_the_factor_is_the_deviation_over_what_was_said():
    # misses deviate by 0.05, half of the 0.10 that the rows' only cause says
    assert fit_spreads.fitted(rows_of(0.05, software=0.1**2))["software"] == 0.5


def test_what_no_row_shows_stays_as_it_is():
    factors = fit_spreads.fitted(rows_of(0.1, software=0.1**2))
    assert factors == dict.fromkeys(fit_spreads.CAUSES, 1.0)


def test_interval_score_by_hand():
    row = Prediction(row={"id": "a-1"}, variances={"x": 0.01})
    inside, outside = (fit_spreads.Row(row, m, 1.0) for m in (0.1, 0.2))
    half = Z80 * 0.1
    assert fit_spreads.interval_score([inside], {}) == pytest.approx(2 * half)
    assert fit_spreads.interval_score([outside], {}) == pytest.approx(2 * half + 10 * (0.2 - half))


def test_sources_of_one_house_go_together():
    houses = {fit_spreads.house_of(source) for source in ("tt", "ao", "aa")}
    assert len(houses) == 2
