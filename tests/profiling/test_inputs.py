"""Inputs of an operator as a trace writes them."""

from roofline.profiling.events import Inputs
from roofline.profiling.inputs import arguments, is_true, whole_numbers


def test_text_of_a_trace_as_values() -> None:
    assert whole_numbers("[3, -1, 20]") == (3, -1, 20)
    assert whole_numbers("[]") == ()
    assert whole_numbers(7) is None
    assert [is_true(text) for text in ("True", "1", "False", "0", "None", None, True)] == [
        True, True, False, False, None, None, None,
    ]  # fmt: skip


def test_lists_that_a_writer_left_as_a_text() -> None:
    plain = Inputs(b"[[2, 3], []]", b'["float", "Scalar"]', b"", b'["", "1"]')
    text = Inputs(b'"[[2, 3], []]"', b"\"['float', 'Scalar']\"", b"", b'"[\\"\\", \\"1\\"]"')
    assert arguments(text) == arguments(plain) is not None


def test_what_is_no_shape_is_no_tensor() -> None:
    for odd in (b"[[[2], 3], [4]]", b'[["2", 3], [4]]', b"[[[[2]]], [4]]", b"[[2.5], [4]]"):
        found = arguments(Inputs(odd, b'["float", "float"]', b"", b'["", ""]'))
        assert found is not None
        assert [tensor.shape for tensor in found.tensors] == [(4,)]
