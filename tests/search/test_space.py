"""Which layouts make sense."""

from hypothesis import given
from hypothesis import strategies as st

from roofline.search.space import default_global_batch, divisors


@given(st.integers(1, 5000))
def test_divisors(number):
    assert divisors(number) == [n for n in range(1, number + 1) if number % n == 0]


@given(st.integers(1, 4096), st.sampled_from([1024, 2048, 8192]))
def test_default_global_batch_serves_every_device(devices, seq_len):
    batch = default_global_batch(devices, seq_len)
    assert batch % devices == 0
    assert batch * seq_len >= 2**20
