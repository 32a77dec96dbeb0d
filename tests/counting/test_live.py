"""What stands beside the kept tensors while a layer runs backward, by hand."""

from roofline.counting.live import Keeper, in_hand
from roofline.counting.op import Op

ES = 2  # bytes of an element of a gradient


def op(kind="elementwise", shape=None, saved=0, form="dense") -> Op:
    return Op(
        name="x",
        kind=kind,
        phase="forward",
        part="layer",
        dtype="bf16",
        flops=0,
        bytes_read=0,
        bytes_written=0,
        shape=shape,
        saved_bytes=saved,
        form=form,
    )


def keeper(what: Op, kept, region=None) -> Keeper:
    return Keeper(op=what, kept=kept, region=region)


def test_a_matmul_holds_the_gradients_of_its_result_and_its_input():
    # [4, 3] @ [3, 5]: dy of 20 elements and dx of 12, beside the gradient of the stream (100 bytes)
    layer = [keeper(op("matmul", (4, 5, 3, 1)), kept=0)]
    assert in_hand(layer, 100, ES, 1) == 100 + (20 + 12) * ES


def test_both_operands_of_a_batched_matmul_take_a_gradient():
    layer = [keeper(op("matmul", (4, 5, 3, 1), form="batched"), kept=0)]
    assert in_hand(layer, 100, ES, 1) == 100 + (20 + 12 + 15) * ES


def test_what_lies_between_takes_the_gradients_of_its_neighbours():
    # a matmul, an activation, a matmul: the activation gets dy of the first (20) and hands back dx of the second (20)
    up, down = op("matmul", (4, 5, 3, 1)), op("matmul", (4, 3, 5, 1))
    layer = [keeper(up, 0), keeper(op(), 0), keeper(down, 0)]
    assert in_hand(layer, 0, ES, 1) == (20 + 20) * ES


def test_what_is_kept_of_later_ops_is_gone_when_earlier_ones_run_backward():
    small, large = op("matmul", (4, 5, 3, 1), saved=10), op("matmul", (4, 5, 3, 1), saved=500)
    # at the last op all 510 bytes are held, and its gradients: nothing beyond these is needed
    assert in_hand([keeper(small, 10), keeper(large, 500)], 0, ES, 1) == (20 + 12) * ES


def test_what_is_dropped_is_made_anew_for_its_region():
    dropped = op("matmul", (4, 5, 3, 1), saved=300)
    first = [keeper(dropped, 0, "a"), keeper(dropped, 0, "a")]
    apart = [keeper(dropped, 0, "a"), keeper(dropped, 0, "b")]
    gradients = (20 + 12) * ES
    assert in_hand(first, 0, ES, 1) == 600 + gradients
    assert in_hand(apart, 0, ES, 1) == 300 + gradients


def test_the_longest_sequence_decides():
    layer = [keeper(op("matmul", (4, 5, 3, 1)), kept=0)]
    assert in_hand(layer, 0, ES, 3) == 3 * (20 + 12) * ES
