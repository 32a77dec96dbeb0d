"""Every term of a step's time has its words."""

from __future__ import annotations

from roofline.timing.schedule import Schedule
from roofline.timing.terms import TERM_WORDS


def test_the_terms_of_a_step_are_worded_each_in_its_own_way() -> None:
    assert set(TERM_WORDS) == {*Schedule.__struct_fields__, "kernel efficiency"} - {"total"}
    assert len(set(TERM_WORDS.values())) == len(TERM_WORDS)
