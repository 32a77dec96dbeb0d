"""Shapes of the results that a trace does not record, from the inputs, by hand."""

import pytest

from roofline.profiling.results import attended, broadcast, convolution_settings, dense, results
from roofline.tracing.rules import Operand


def tensor(*shape: int, itemsize: int = 2) -> Operand:
    return dense(shape, itemsize)


def shapes(base: str, **args: Operand) -> list[tuple[int, ...]]:
    tensors = tuple(each for each in args.values() if isinstance(each, Operand))
    return [each.shape for each in results(base, args, tensors)]


@pytest.mark.parametrize(
    ("base", "args", "shape"),
    [
        ("mm", {"self": tensor(2, 3), "mat2": tensor(3, 4)}, (2, 4)),
        ("bmm", {"self": tensor(5, 2, 3), "mat2": tensor(5, 3, 4)}, (5, 2, 4)),
        ("linear", {"input": tensor(7, 2, 3), "weight": tensor(4, 3)}, (7, 2, 4)),
        ("embedding", {"indices": tensor(7, 2, itemsize=8), "weight": tensor(100, 6)}, (7, 2, 6)),
        ("dot", {"self": tensor(3), "tensor": tensor(3)}, ()),
        ("add", {"self": tensor(4, 1, 3), "other": tensor(5, 1)}, (4, 5, 3)),
        ("index_select", {"self": tensor(9, 3), "dim": "0", "index": tensor(4, itemsize=8)}, (4, 3)),
    ],
)
def test_one_result(base, args, shape):
    assert shapes(base, **args) == [shape]


def test_arithmetic_is_in_the_widest_type_and_scalars_widen_nothing():
    assert broadcast((tensor(2, 3), tensor(3, itemsize=4))).itemsize == 4
    assert broadcast((tensor(2, 3), tensor(itemsize=8))).itemsize == 2


def test_a_join_holds_all_that_it_joins():
    (joined,) = results("cat", {}, (tensor(2, 3), tensor(4, 3)))
    assert joined.elements == 6 + 12


def test_a_gradient_is_as_large_as_its_input():
    assert shapes("native_layer_norm_backward", input=tensor(4, 8), weight=tensor(8)) == [(4, 8), (8,), (8,)]
    assert shapes("gelu_backward", grad=tensor(4, 8), self=tensor(4, 8)) == [(4, 8)]


def test_what_the_inputs_do_not_tell_is_none():
    assert results("upsample_nearest2d_backward", {}, (tensor(4, 8),)) is None
    assert results("index_select", {"self": tensor(9, 3), "index": tensor(4)}, (tensor(9, 3),)) is None


def test_attention_writes_its_result_and_a_sum_for_each_row():
    args = {"query": tensor(2, 3, 5, 8), "key": tensor(2, 3, 7, 8), "value": tensor(2, 3, 7, 4)}
    result, sums = attended(args, backward=False)
    assert (result.shape, sums.shape, sums.itemsize) == ((2, 3, 5, 4), (2 * 3 * 5,), 4)
    assert attended(args, backward=True) == list(args.values())


def test_groups_of_a_convolution_follow_from_its_channels():
    assert convolution_settings({"input": tensor(1, 12, 8, 8), "weight": tensor(6, 3, 3, 3)})["groups"] == 4
