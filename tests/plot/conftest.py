"""What pictures are drawn of: GPT-2 XL on two devices."""

import pytest

from roofline.answers.estimate import estimate


@pytest.fixture(scope="session")
def xl():
    return estimate("gpt2-xl", "h100-sxm-80gb", micro_batch=8)


@pytest.fixture(scope="session")
def pair(xl):
    return [xl, estimate("gpt2-xl", "a100-sxm-80gb", micro_batch=8)]
