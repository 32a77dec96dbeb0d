"""What a compiler keeps for backward."""

import pytest

from .test_fusion import SIZE, Tape

WHOLE = 4 * SIZE


def kept(tape: Tape) -> dict[str, int]:
    """Bytes kept, and what a kernel of backward reads."""
    found = tape.fused("out")
    return {"kept": found.activation_bytes, "read": sum(op.bytes_read for op in found.ops if op.phase == "backward")}


def chain(**fields: object) -> Tape:
    """x @ w = a; a -> b -> c = out; backward reads b and c, or what they come from."""
    tape = Tape("w")
    tape.add("mm", "x w", "a", loop=None)
    tape.add("exp", "a", "b", **fields)
    tape.add("sin", "a b", "c")
    tape.add("mm", "c", "out", loop=None)
    return tape


def test_what_is_element_by_element_is_computed_again() -> None:
    tape = chain()
    tape.add("backward", "g b c", "d", phase="backward")
    assert kept(tape)["kept"] == WHOLE  # a; not b and c, nor the gradient g that backward starts from


def test_what_a_library_call_reads_is_kept() -> None:
    tape = chain()
    tape.add("mm", "c", "d", loop=None, phase="backward")
    tape.add("backward", "d b", "e", phase="backward")
    assert kept(tape)["kept"] == 2 * WHOLE  # c, and one of a and b


@pytest.mark.parametrize("fields", [{"random": True}, {"loop": "columns", "reduced": SIZE}])
def test_random_numbers_and_reductions_are_kept(fields: dict[str, object]) -> None:
    tape = chain(**fields)
    tape.add("backward", "b c", "d", phase="backward")
    assert kept(tape)["kept"] == 2 * WHOLE  # a and b


def test_of_equal_cuts_the_one_next_to_backward_is_taken() -> None:
    tape = Tape("w")
    tape.add("mm", "x w", "a", loop=None)
    tape.add("exp", "a", "out")
    tape.add("backward", "out", "d", phase="backward")
    found = tape.fused("out")
    assert found.activation_bytes == WHOLE
    assert [op.saved_bytes for op in found.ops if op.name == "h.exp"] == [WHOLE]


def test_one_tensor_is_kept_in_place_of_two() -> None:
    tape = Tape("w")
    tape.add("mm", "x w", "a", loop=None)
    tape.add("mm", "y w", "b", loop=None)
    tape.add("add", "a b", "c")
    tape.add("exp", "c", "out")
    tape.add("backward", "c out", "d", phase="backward")
    assert kept(tape) == {"kept": WHOLE, "read": WHOLE}  # c, of which out is computed again
