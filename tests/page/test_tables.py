"""Tables with bars: where each bar starts and ends."""

import re

import pytest

import roofline
from roofline.page.tables import phases, waterfall

RESULT = roofline.estimate("gpt2", "a100-sxm-80gb", micro_batch=8, stack="compiled")
BAR = re.compile(r"left:([\d.]+)%;width:([\d.]+)%")


def test_each_cause_ends_where_the_next_begins():
    bars = [(float(left), float(width)) for left, width in BAR.findall(waterfall(RESULT))]
    peak, *causes, mfu = bars
    assert peak == (0, 100)
    assert mfu == (0, pytest.approx(100 * RESULT.mfu, abs=0.01))
    ends = [left + width for left, width in causes]
    assert ends[0] == pytest.approx(100, abs=0.1)
    for (left, _), following in zip(causes, ends[1:], strict=False):
        assert following == pytest.approx(left, abs=0.3)  # bars too narrow to see are drawn at 0.2 %


def test_moments_are_on_the_scale_of_the_largest():
    rows = re.findall(r"<tr.*?</tr>", phases(RESULT))[1:]
    widths = [sum(float(width) for _, width in BAR.findall(row)) for row in rows]
    whole = max(phase.total for phase in RESULT.memory.phases)
    for width, phase in zip(widths, RESULT.memory.phases, strict=True):
        assert width == pytest.approx(100 * phase.total / whole, abs=0.5)
    assert sum('class="sum"' in row for row in rows) == 1
