"""How many devices: the fewest that meet a deadline, the most that a budget pays."""

import pytest

import roofline
from roofline.planning.cost import Terms
from roofline.planning.devices import DoesNotFit, Planner
from roofline.planning.plan import read_terms

GPT2, A100 = roofline.load_model("gpt2"), roofline.load_device("a100-sxm-80gb")


def planner(**options) -> Planner:
    tried: list[int] = []
    made = Planner(
        GPT2, A100, read_terms(Terms()), {"global_batch": 64, "stack": "compiled", **options}, 0.5, tried.append
    )
    made.tried = tried
    return made


def test_each_number_of_devices_is_searched_once():
    made = planner()
    assert made.best(2) is made.best(2)
    assert made.tried == [2]


def test_a_number_that_does_not_fit_fails_each_time():
    made = Planner(roofline.load_model("llama-3-70b"), A100, read_terms(Terms()), {"global_batch": 8, "stack": "nemo"})
    for _ in range(2):
        with pytest.raises(DoesNotFit):
            made.on(1)
