from itertools import product

import msgspec
import pytest

import roofline
from roofline.answers.explore import AXES, explore
from roofline.errors import RooflineError


def case_at(explored, **chosen):
    place = list(product(*explored.axes.values())).index(tuple(chosen[name] for name in AXES))
    return explored.cases[place]


@pytest.mark.parametrize(
    ("micro_batch", "seq_len", "num_devices"), [(1, 1024, 1), (8, 256, 1), (2, 1024, 16), (16, 512, 4)]
)
def test_a_case_is_the_estimate_of_its_options(micro_batch, seq_len, num_devices):
    run = roofline.estimate("gpt2-xl", "h100-sxm-80gb", micro_batch=8).run
    found = case_at(explore(run), micro_batch=micro_batch, seq_len=seq_len, num_devices=num_devices)
    options = {"micro_batch": micro_batch, "seq_len": seq_len, "num_devices": num_devices}
    alone = roofline.estimate("gpt2-xl", "h100-sxm-80gb", **options)
    assert found.figures["step_time_s"] == pytest.approx(alone.step_time_s)
    assert found.figures["mfu"] == pytest.approx(alone.mfu)
    assert found.figures["needed_bytes"] == pytest.approx(alone.memory.needed_bytes)
    assert sum(found.lost.values()) + found.figures["mfu"] == pytest.approx(1.0)
    assert sum(found.parts.values()) == pytest.approx(alone.memory.total_bytes)


def test_a_global_batch_that_was_said_stays_and_what_does_not_divide_it_is_refused():
    run = roofline.estimate("gpt2", "t4", micro_batch=2, global_batch=8).run
    explored = explore(run)
    assert case_at(explored, micro_batch=2, seq_len=1024, num_devices=1).refused == ""
    # 16 sequences a pass are more than the 8 of a step
    assert "global_batch 8" in case_at(explored, micro_batch=16, seq_len=1024, num_devices=1).refused


def test_data_parallel_ranks_follow_from_the_devices():
    run = roofline.estimate("gpt2", "t4", micro_batch=2, dp=4).run
    explored = explore(run)
    assert explored.axes["num_devices"] == (1, 2, 4, 8, 16, 32)
    assert case_at(explored, micro_batch=2, seq_len=1024, num_devices=8).figures["tokens_per_s"] > 0


def test_a_figure_that_the_device_lacks_refuses_its_cases_alone():
    bare = msgspec.structs.replace(roofline.load_device("h100-sxm-80gb"), node=None)  # and so without a network
    explored = explore(roofline.estimate("gpt2", bare, micro_batch=2).run)
    at = {"micro_batch": 2, "seq_len": 1024}
    assert case_at(explored, **at, num_devices=4).figures
    assert "--network-bandwidth" in case_at(explored, **at, num_devices=16).refused


def test_an_array_of_runs_is_refused():
    run = roofline.estimate("gpt2", "t4", micro_batch=[1, 2]).run
    with pytest.raises(RooflineError, match="micro_batch"):
        explore(run)
