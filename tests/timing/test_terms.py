"""Every term of a step's time has its words."""

from __future__ import annotations

from roofline import estimate
from roofline.timing.terms import TERM_WORDS


def test_the_terms_of_a_step_are_worded_each_in_its_own_way() -> None:
    result = estimate("gpt2", "h100-sxm-80gb", num_devices=2, micro_batch=1, seq_len=64)
    assert set(result.breakdown.__struct_fields__) - {"ideal", "kernel_efficiency"} >= set()
    assert len(set(TERM_WORDS.values())) == len(TERM_WORDS)
    assert all(words and not words.endswith(".") for words in TERM_WORDS.values())
