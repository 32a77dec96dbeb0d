"""Memory passes of element-wise chains, counted from the kernels in them."""

import pytest

from roofline.counting.traffic import dropout, expert_sum, metric, norm, residual, rotary
from roofline.model.spec import Norm


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


@pytest.mark.parametrize(
    ("kind", "es", "expected"),  # reads and writes per element, forward and backward
    [
        # cast up 1, 2; square 2, 2; mean 2; product 2, 2; cast down 2, 1; weight 1, 1
        (Norm(), 2, (10, 8, 27, 19)),
        (Norm(fp32=True), 2, (11, 9, 31, 21)),
        # the input itself is scaled: 1 read where 2 were
        (Norm(keeps_input=True), 2, (9, 8, 26, 19)),
        # square 1, 1; mean 1; product 1, 1; weight 1, 1
        (Norm(), 4, (4, 3, 14, 9)),
        # cast up 1, 2; torch's kernel 2, 2; cast down 2, 1; backward has no gradient of a weight
        (Norm(kind="layer", fp32=True, weight=False), 2, (5, 5, 7, 5)),
    ],
)
def test_norms_of_eager_code_are_chains(kind: Norm, es: float, expected: tuple[float, ...]) -> None:
    found = norm(kind, es, wide=False, fused=False)
    assert (found.reads, found.writes, found.back_reads, found.back_writes) == expected


def test_positions_turned_in_eager_code():
    # product 1, 1 twice; half negated 0.5, 0.5; halves joined 1, 1; sum 2, 1
    found = rotary(fused=False, wide=False)
    assert (found.reads, found.writes) == (5.5, 4.5)
    # product 1, 1 twice; half negated; both halves into zeros 0.5, 1.5 each; two sums 2, 1; a copy in order 1, 1
    assert (found.back_reads, found.back_writes) == (8.5, 8.5)
    # in fp32 all but the copy twice, and a cast either way
    wide = rotary(fused=False, wide=True)
    assert (wide.reads, wide.writes) == (2 * 5.5 + 1 + 2, 2 * 4.5 + 2 + 1)
    assert (wide.back_reads, wide.back_writes) == (2 * 7.5 + 1 + 1 + 2, 2 * 7.5 + 1 + 2 + 1)
    assert rotary(fused=True, wide=True).reads == 1


def test_what_experts_made_is_weighed_put_in_order_and_summed():
    # product 1, 1; order 1, 1; sum 1 of each, 1/4 out
    plain = expert_sum(1 / 4, 1)
    assert (plain.reads, plain.writes) == (3, 2.25)
    # gradient spread 1/4, 1; zeros 0, 1; put 1, 1; products 2, 1 and 1, 1; sum 1
    assert (plain.back_reads, plain.back_writes) == (5.25, 5)
    # weights in fp32: all behind the first product twice as wide, and casts of the sum and of either gradient
    wide = expert_sum(1 / 4, 2)
    assert (wide.reads, wide.writes) == (1 + 2 + 2 + 0.5, 2 + 2 + 0.5 + 0.25)
    assert (wide.back_reads, wide.back_writes) == (0.25 + 0.5 + 2 + 3 + 2 + 2 + 2, 0.5 + 2 + 2 + 2 + 2 + 2 + 1)
