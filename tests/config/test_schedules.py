"""Pipeline schedules: the figures of the papers."""

import pytest

from roofline.config.schedules import pipeline_schedule, schedules
from roofline.errors import RooflineError


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


def test_virtual_stages_divide_the_bubble() -> None:
    assert bubble("interleaved", 8, 1, 2, 1.5, vp=3) == pytest.approx(7 * 4.5 / 3)


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
    assert pipeline_schedule("gpipe").held(8, 1, 0) is None  # all of the step


def test_every_schedule_names_its_source() -> None:
    assert all("arXiv:" in plan.source for plan in schedules().values())
    assert pipeline_schedule("dualpipe").weight_copies == 2


def test_an_unknown_schedule_is_named() -> None:
    with pytest.raises(RooflineError, match="unknown schedule 'zb-h3'"):
        pipeline_schedule("zb-h3")
