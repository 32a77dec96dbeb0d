"""A file of the user's that Python takes for one of the packages we import: ``numpy.py`` in the working folder."""

import os
import sys


def shadowed() -> str | None:
    """The module in the working folder that hides a package of the same name, in words; None where none does.

    What is asked when something has failed already imports nothing that could be hidden itself.
    """
    from importlib.machinery import PathFinder  # part of the interpreter

    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # the folder is gone
        return None
    elsewhere = [folder for folder in sys.path if os.path.realpath(folder) != here]
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name in {"__main__", __package__} or "." in name or not isinstance(file, str):
            continue
        place = os.path.dirname(file) if os.path.basename(file).startswith("__init__.") else file
        if os.path.realpath(os.path.dirname(place)) == here and PathFinder.find_spec(name, elsewhere) is not None:
            return f"{place} takes the place of the package {name}: rename it, or call roofline in another folder"
    return None
