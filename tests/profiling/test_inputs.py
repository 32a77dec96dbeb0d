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
