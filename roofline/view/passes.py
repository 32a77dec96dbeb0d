"""The passes of a step over time, in words."""

from __future__ import annotations

from ..timing.pipeline import Timeline
from ..units import format_time

PASS_WORDS = {"data parallel": "exposed data-parallel communication", "update": "update of the parameters"}


def shown_words(shown: Timeline, step_time_s: float) -> str:
    """What a picture shows, and how it compares with the estimate, as sentences."""
    batches = f"{shown.of:,} micro batch{'es' if shown.of > 1 else ''}"
    if shown.micro_batches < shown.of:
        drawn = f"The first {shown.micro_batches:,} of {batches}, whose pattern repeats, and what ends the step"
    else:
        drawn, ends, estimate = f"All of a step of {batches}", format_time(shown.seconds), format_time(step_time_s)
        drawn += "" if ends == estimate else f": it ends after {ends}, where the estimate is {estimate}"
    how = f", in the order that the rules of the {shown.schedule} schedule make" if shown.devices > 1 else ""
    return f"{drawn}{how}. Passes hold their exposed communication and waits for launches; blank is waiting."
