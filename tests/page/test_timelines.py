"""The pipeline of a page: a bar per pass where it runs, in both sizes."""

import re

from roofline.page.timelines import LEFT, RIGHT, WIDTHS, pipeline
from roofline.timing.pipeline import Pass, Timeline


def shown(devices: int, *passes: Pass) -> Timeline:
    return Timeline(devices=devices, micro_batches=1, of=1, schedule="1f1b", passes=passes)


def forward(device: int, start: float, end: float, chunk: int = 0) -> Pass:
    return Pass(device=device, kind="forward", micro_batch=0, chunk=chunk, start=start, end=end)


def bars(text: str, kind: str) -> list[tuple[float, ...]]:
    """(x, y, length) of every bar of one size."""
    (picture,) = (each for each in re.findall(r"<svg.*?</svg>", text, re.DOTALL) if f"chart {kind}" in each)
    return [tuple(map(float, bar)) for bar in re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v", picture)]


def test_a_bar_starts_and_ends_where_its_pass_does():
    text = pipeline(shown(2, forward(0, 0.0, 0.2), forward(1, 0.2, 0.4)), 0.4)
    for kind, width in WIDTHS.items():
        (first, y0, length), (second, y1, _) = bars(text, kind)
        half = (width - LEFT - RIGHT) / 2
        assert abs(first - LEFT) < 0.01
        assert abs(second - (LEFT + half)) < 0.01
        assert half - 1 < length <= half  # a little short of its neighbour
        assert y0 < y1


def test_short_steps_are_in_milliseconds_and_long_ones_in_seconds():
    assert "ms from the start" in pipeline(shown(1, forward(0, 0.0, 0.4)), 0.4)
    assert "s from the start" in pipeline(shown(1, forward(0, 0.0, 4.0)), 4.0)
    assert "ms from" not in pipeline(shown(1, forward(0, 0.0, 4.0)), 4.0)


def test_virtual_stages_are_told_where_there_are_several():
    assert "virtual stage" not in pipeline(shown(1, forward(0, 0.0, 1.0)), 1.0)
    assert "virtual stage" in pipeline(shown(1, forward(0, 0.0, 1.0), forward(0, 1.0, 2.0, chunk=1)), 2.0)
