"""Makes sure that `hardware` is the package that comes with roofline, not another distribution's."""

from __future__ import annotations

from .errors import RooflineError


class ShadowedError(RooflineError, ImportError):
    """Another `hardware` package is found first: nothing can be estimated."""


def check_hardware() -> None:
    """Import `hardware` and check that it is ours.

    Raises:
        ShadowedError: It is not, or it is missing; the message says which one was found and what to do.
    """
    try:
        import hardware
    except ImportError as error:
        raise ShadowedError(
            f"the package 'hardware' of roofline cannot be imported ({error}): install roofline again"
        ) from error
    if not hasattr(hardware, "load_device"):
        found = hardware.__file__ or ", ".join(getattr(hardware, "__path__", ()))
        raise ShadowedError(
            f"another package named 'hardware' ({found}) hides the one that comes with roofline: "
            "uninstall or rename it, run from another folder, or give roofline an environment of its own"
        )
