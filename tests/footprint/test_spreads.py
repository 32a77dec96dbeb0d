"""How sure figures of memory are."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from roofline.config.settle import train_config
from roofline.footprint import spreads


@pytest.mark.parametrize("missed", [-3, -1.2816, -0.5, 0, 0.5, 1, 1.2816, 3])
def test_the_probability_is_that_of_the_normal_distribution(missed):
    capacity = math.exp(missed * spreads.OUTCOME)  # standard deviations of room
    assert spreads.fit_probability(1.0, capacity) == pytest.approx(NormalDist().cdf(missed), abs=3e-4)


def test_far_beyond_the_capacity_is_no_overflow():
    assert spreads.fit_probability(1e30, 1.0) == pytest.approx(0, abs=1e-12)
    assert spreads.fit_probability(1.0, 1e30) == pytest.approx(1, abs=1e-12)


def test_words_stand_at_their_probabilities():
    words = ["fits", "borderline", "borderline", "does not fit"]
    assert list(spreads.verdict(np.array([0.9, 0.89, 0.11, 0.09]))) == words
    assert spreads.verdict(1 - spreads.SURE) == "borderline"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "ALONE"),
        ({"num_devices": 2, "sharding": "fsdp"}, "SHARDED"),
        ({"num_devices": 8, "tp": 2}, "SPLIT"),
        ({"num_devices": 8, "pp": 2}, "SPLIT"),
        ({"train": "qlora", "lora_rank": 16, "base_dtype": "nf4"}, "QUANTISED"),
    ],
)
def test_the_spread_goes_by_how_the_model_is_held(options, name):
    train = train_config({"seq_len": 1024, "stack": "eager", **options})
    assert spreads.spread_of(train) == getattr(spreads, name)


def test_outcomes_are_less_sure_where_the_model_is_split():
    ways = ({}, {"tp": 2}, {"pp": 2}, {"tp": 2, "pp": 2})
    whole, *others = (train_config({"seq_len": 1024, "stack": "eager", "num_devices": 4, **how}) for how in ways)
    split = others[0]
    assert spreads.outcome_spread(whole) == spreads.OUTCOME < spreads.outcome_spread(split)
    assert {spreads.outcome_spread(each) for each in others} == {spreads.SPLIT_OUTCOME}
    wide = spreads.outcome_spread(split)
    assert spreads.fit_probability(1.0, math.exp(wide), wide) == pytest.approx(NormalDist().cdf(1), abs=3e-4)
