"""Every term of a step's time stands in one table."""

import pytest

from roofline.timing.schedule import Schedule
from roofline.timing.terms import KERNELS, LOSSES, TERMS, words_of


def test_the_terms_are_those_that_a_step_adds_up() -> None:
    assert (*TERMS, "total") == Schedule.__struct_fields__


def test_a_waterfall_loses_to_every_term_but_what_kernels_at_their_peak_take() -> None:
    assert list(LOSSES) == [KERNELS, *(name for name in TERMS if name not in {"matmul", "attention"})]


def test_each_is_worded_in_its_own_way() -> None:
    known = [words_of(name) for name in {**LOSSES, **TERMS}]
    assert len(set(known)) == len(known) == len(TERMS) + 1


@pytest.mark.parametrize("name", TERMS)
def test_a_device_that_waits_computes_nothing_meanwhile(name: str) -> None:
    term = TERMS[name]
    assert 0 < term.spread < 1
    assert (term.waits != "") == (term.bound in {"communication", "latency"})
    assert not (term.hides and term.waits)
