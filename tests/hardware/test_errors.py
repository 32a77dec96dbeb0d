"""One line each: what, got, allowed or nearest, remedy."""

from roofline.errors import RooflineError
from roofline.hardware import HardwareError
from roofline.hardware.errors import quoted


def test_hardware_errors_are_the_projects() -> None:
    assert issubclass(HardwareError, RooflineError)
    assert quoted(["a", "b"]) == "'a', 'b'"
    assert quoted([]) == ""
