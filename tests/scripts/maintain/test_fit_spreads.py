"""Spreads are fitted to the misses they stand for, and judged by the interval score."""

import importlib.util
import sys
from pathlib import Path
from statistics import NormalDist

import pytest

from roofline.timing.interval import Z80
from roofline.validation.runs import Prediction

FOLDER = Path(__file__).parents[3] / "scripts" / "maintain"


@pytest.fixture(scope="module")
def script():
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("fit_spreads", FOLDER / "fit_spreads.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


def rows_of(script, deviation, **variances):
    """A hundred rows whose misses have a normal distribution."""
    misses = [abs(NormalDist(0, deviation).inv_cdf((i + 0.5) / 100)) for i in range(100)]
    prediction = Prediction(row={"id": "source-1"}, variances=variances)
    return [script.Row(prediction, miss, 1.0) for miss in misses]


def test_the_factor_is_the_deviation_over_what_was_said(script):
    # misses deviate by 0.05, half of the 0.10 that the rows' only cause says
    assert script.fitted(rows_of(script, 0.05, software=0.1**2))["software"] == 0.5


def test_what_no_row_shows_stays_as_it_is(script):
    factors = script.fitted(rows_of(script, 0.1, software=0.1**2))
    assert factors == dict.fromkeys(script.CAUSES, 1.0)


def test_interval_score_by_hand(script):
    inside, outside = (script.Row(Prediction(row={"id": "a-1"}, variances={"x": 0.01}), m, 1.0) for m in (0.1, 0.2))
    half = Z80 * 0.1
    assert script.interval_score([inside], {}) == pytest.approx(2 * half)
    assert script.interval_score([outside], {}) == pytest.approx(2 * half + 10 * (0.2 - half))


def test_sources_of_one_house_go_together(script):
    houses = {script.house_of(script.Row(Prediction(row={"id": f"{s}-1"}), 0.0, 1.0)) for s in ("tt", "ao", "aa")}
    assert len(houses) == 2
