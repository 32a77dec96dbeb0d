"""Paths of a module's parts as its author knows them, and what `torch.compile` did to it."""

from __future__ import annotations

from typing import Any

_WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}  # words of paths that torch puts in


def is_compiled(module: Any) -> bool:
    """Whether a module was given to `torch.compile`, or its method `compile` was called."""
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def plain(path: str) -> str:
    """A module's path as its author knows it."""
    return ".".join(word for word in path.split(".") if word not in _WRAPPERS)


def ancestors(name: str) -> list[str]:
    """Paths of the modules that hold a parameter, the outermost first: the whole is "", a.b.weight is in a and a.b."""
    words = name.split(".")
    return [".".join(words[:depth]) for depth in range(len(words))]


def places_of(module: Any) -> dict[str, str]:
    """Module path -> path with the index of equal siblings starred: h.0.mlp and h.1.mlp are both h.*.mlp."""
    places = {"": ""}
    for whole, parent in module.named_modules():
        path, children = (
            plain(whole),
            {word: child for word, child in parent.named_children() if word not in _WRAPPERS},
        )
        alike = len(children) > 1 and len({type(child) for child in children.values()}) == 1
        for name in children:
            word = "*" if alike and name.isdigit() else name
            places[f"{path}.{name}".lstrip(".")] = f"{places[path]}.{word}".lstrip(".")
    return places
