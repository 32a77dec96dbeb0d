"""Memory passes of element-wise chains, counted from the kernels in them."""

import pytest

from roofline.counting.traffic import dropout, metric, residual


def passes(**changes: float) -> tuple[float, float, float, float, int, int]:
    found = residual(**{"mask": 0.0, "fused": False, "in_norm": False, **changes})  # type: ignore[arg-type]
    return found.reads, found.writes, found.back_reads, found.back_writes, found.kernels, found.back_kernels


def test_a_plain_residual_is_one_addition() -> None:
    # x + y: reads both, writes the sum; backward adds the two gradients that meet
    assert passes() == (2, 1, 2, 1, 1, 1)


def test_with_dropout_the_mask_is_written_and_read_again() -> None:
    # dropout(y): y in, y and a mask of half an element out; then x + y: two kernels
    assert passes(mask=0.5) == (3, 2.5, 3.5, 2, 2, 2)
    # in one kernel what is dropped never leaves it
    assert passes(mask=0.5, fused=True) == (2, 1.5, 3.5, 2, 1, 1)


def test_a_sum_formed_in_the_norm_does_not_read_the_stream_itself() -> None:
    assert passes(in_norm=True)[0] == 1


def test_parallel_blocks_add_all_their_terms_at_once() -> None:
    assert passes(terms=2)[:2] == (3, 1)


def test_a_stream_in_fp32_counts_twice() -> None:
    # fp32 x + 16-bit y: reads 2 + 1, writes 2
    assert passes(stream=2, fused=True)[:3] == (3, 2, 4)
    # backward casts the gradient for y in a kernel of its own: reads fp32 again, writes 16 bits beside the sum
    assert passes(stream=2)[2:] == (6, 3, 1, 2)


def test_dropout_moves_its_mask_both_ways() -> None:
    found = dropout(0.5)
    assert (found.reads, found.writes, found.back_reads, found.back_writes) == (1, 1.5, 1.5, 1)


@pytest.mark.parametrize(("es", "reads", "writes"), [(2, 3, 4), (4, 2, 2)])
def test_a_metric_copies_the_logits_to_fp32_and_takes_their_log_softmax(es: float, reads: float, writes: float) -> None:
    # of 16 bits: the logits (1) and the fp32 copy (2) read, copy and result (2 + 2) written
    found = metric(es, 3)
    assert (found.reads, found.writes, found.back_reads, found.kernels) == (3 * reads, 3 * writes, 0, 9)
