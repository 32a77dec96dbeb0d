"""The ablation takes out what it says, and leaves the constants as they were."""

import pytest

from roofline import settle
from roofline.answers.estimate import estimate_step
from roofline.config.stack import load_stack
from roofline.counting.step import build_step
from roofline.hardware import load_device
from roofline.timing import schedule

from ...maintain import script

ablate = script("ablate")


@pytest.fixture
def changes():
    return ablate.changes([load_device("h100-sxm-80gb").measured], [load_stack("compiled")])


def step_time():
    run = settle("gpt2-xl", "h100-sxm-80gb", micro_batch=4, stack="compiled")
    step = build_step(run.model, run.train)  # `estimate` may replay what other tests asked, constants and all
    return estimate_step(step, run.device).step_time_s


def test_a_cost_taken_out_makes_the_step_faster_and_comes_back(changes):
    before = step_time()
    for name in ("attainable matmul rate", "attention kernels' rates", "attainable memory bandwidth"):
        with ablate.without(changes[name]):
            assert step_time() < before, name
        assert step_time() == before, name


def test_a_help_taken_out_makes_the_step_slower(changes):
    before = step_time()
    with ablate.without(changes["fusions of stacks"]):
        assert step_time() > before


def test_the_constants_come_back_after_an_error(changes):
    before = schedule.INTERFERENCE

    def interrupted():
        with ablate.without(changes["slowdown beside communication"]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert before == schedule.INTERFERENCE > 0


def test_every_change_names_a_constant(changes):
    for changed in changes.values():
        assert all(hasattr(item, field) for item, field, _ in changed)
