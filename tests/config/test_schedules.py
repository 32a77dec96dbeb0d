"""Pipeline schedules: the figures of the papers."""

import numpy as np
import pytest

from roofline.config.schedules import pipeline_schedule, schedules
from roofline.config.settle import settle
from roofline.config.stack import load_stack
from roofline.config.words import schedule_run
from roofline.errors import RooflineError
from roofline.model.load import load_model


def bubble(name: str, pp: int, forward: float, data: float, weight: float, vp: int = 1) -> float:
    """Seconds a stage waits, of equal stages."""
    plan = pipeline_schedule(name)
    rule = plan.bubble
    other = pp / 2 - 1 if plan.halved else pp - 1
    waits = rule.forward * forward + rule.data * data + rule.weight * weight
    return other * waits / (vp if plan.divided else 1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # arXiv:2401.10241, table 1, p 8 stages, F 1, B 2 (data), W 1.5: (p-1)(F+B+W), (p-1)(F+B-W), (p-1)(F+B-2W)
        ("1f1b", 7 * 4.5),
        ("gpipe", 7 * 4.5),
        ("zb-h1", 7 * 1.5),
        ("zb-h2", 0.0),
        # arXiv:2412.19437, table 2, with B of both gradients 3.5 and F&B as long as F and B: (p/2-1)(F&B + B - 3W)
        ("zb-1p", 7 * (1 + 3.5 - 2 * 1.5)),
        ("dualpipe", 3 * ((1 + 3.5) + 3.5 - 3 * 1.5)),
    ],
)
def test_bubbles_of_the_papers(name: str, expected: float) -> None:
    assert bubble(name, 8, 1, 2, 1.5) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["interleaved", "circular"])
def test_virtual_stages_divide_the_bubble(name: str) -> None:
    assert bubble(name, 8, 1, 2, 1.5, vp=3) == pytest.approx(7 * 4.5 / 3)


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("1f1b", [8, 7, 1]),
        ("zb-h1", [8, 8, 8]),
        ("zb-h2", [15, 15, 15]),
        ("zb-2p", [16, 16, 16]),
        ("zb-v", [8, 8, 8]),
        ("dualpipe", [9, 9, 9]),
    ],
)
def test_micro_batches_in_flight(name: str, held: list[int]) -> None:
    assert [pipeline_schedule(name).held(8, 1, stage) for stage in (0, 1, 7)] == held


def test_interleaved_holds_more_on_the_first_stages() -> None:
    # p + (p-1)/v on the first, p - (p-1)/v on the last
    assert [pipeline_schedule("interleaved").held(8, 4, stage) for stage in (0, 7)] == [8 + 7 / 4, 8 - 7 / 4]
    assert pipeline_schedule("interleaved").held(8, 1, 2) == 6  # with one chunk as 1f1b


@pytest.mark.parametrize("name", ["gpipe", "circular"])
def test_all_of_a_step_are_in_flight_before_the_first_backward_pass(name: str) -> None:
    assert pipeline_schedule(name).held(8, 2, 0) is None


@pytest.mark.parametrize(
    ("stack", "one", "several"),
    [
        ("megatron", "1f1b", "interleaved"),
        ("jax", "gpipe", "circular"),
        ("torchtitan", "1f1b", "interleaved"),
        ("deepspeed", "1f1b", "interleaved"),  # asked for what it does not have
        ("llm-c", "1f1b", "interleaved"),
    ],
)
def test_the_usual_schedule_is_the_first_that_the_software_has(stack: str, one: str, several: str) -> None:
    usual = load_stack(stack).usual_schedule
    assert (usual(1), usual(2), usual(np.array([1, 2]))) == (one, several, several)


def test_one_chunk_on_each_device_is_the_plain_schedule() -> None:
    def run(**options: object) -> str | None:
        return schedule_run(settle(load_model("gpt2"), None, {"num_devices": 4, "global_batch": 8, **options}).train)

    assert run() is None
    assert run(pp=2) == run(pp=2, schedule="interleaved") == "1f1b"
    assert run(pp=2, schedule="circular") == run(pp=2, stack="jax") == "gpipe"
    assert run(pp=2, vp=2, stack="jax") == "circular"
    assert run(pp=2, schedule="zb-h1") == "zb-h1"


def test_every_schedule_names_its_source() -> None:
    assert all("arXiv:" in plan.source for plan in schedules().values())
    assert pipeline_schedule("dualpipe").weight_copies == 2


def test_an_unknown_schedule_is_named() -> None:
    with pytest.raises(RooflineError, match="unknown schedule 'zb-h3'"):
        pipeline_schedule("zb-h3")
