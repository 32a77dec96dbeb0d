"""Model names as people type them: ``Llama-3-8B``, ``llama3-8b``, ``meta-llama/Llama-3.1-8B-Instruct``; no network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..errors import nearest

_WORD = r"[a-z]+|\d+(?:\.\d+)*(?:[bm](?![a-z]))?"
_HUB = r"https://huggingface\.co/([\w.-]+/[\w.-]+)/"
# Words of a repository's name that do not change the architecture.
_SILENT = frozenset({"meta", "hf", "base", "instruct", "chat", "it", "pt", "sft", "dpo"})


def words(name: str) -> tuple[str, ...]:
    """The words of a name, however they are joined.

    >>> words("Llama-3-8B") == words("llama3-8b") == words("llama 3:8b"), words("Qwen2.5-0.5B")
    (True, ('qwen', '2.5', '0.5b'))
    """
    return tuple(re.findall(_WORD, name.lower()))


def hub_id(source: str) -> str | None:
    """The repository of a preset's source.

    >>> hub_id("https://huggingface.co/Qwen/Qwen3-8B/blob/main/config.json")
    'Qwen/Qwen3-8B'
    """
    found = re.match(_HUB, source)
    return found[1] if found else None


def readings(text: str, sources: Mapping[str, str]) -> list[str]:
    """The presets that a name can mean: one where it is known, several where it is ambiguous.

    A repository of the Hub counts by its own name, whoever holds the copy; words such as ``Instruct`` name a training,
    not an architecture.

    Args:
        text: The name as typed.
        sources: The source of each preset.
    """
    hubs = {model_id: hub_id(source) for model_id, source in sources.items()}
    if "/" in text:
        exact = [model_id for model_id, hub in hubs.items() if hub and hub.lower() == text.lower()]
        if exact:
            return exact
    typed = words(text.rpartition("/")[2])
    shorter = tuple(word for word in typed if word not in _SILENT)
    for wanted in (typed, shorter):
        for names in (
            {model_id: model_id for model_id in sources},
            {m: h.rpartition("/")[2] for m, h in hubs.items() if h},
        ):
            found = [model_id for model_id, name in names.items() if wanted and words(name) == wanted]
            if found:
                return found
    return []


def suggestions(text: str, ids: Iterable[str], count: int = 4) -> list[str]:
    """The presets of the same family that look most like a name; where there is none, of a family spelt alike.

    >>> suggestions("llama-3-7b", ["llama-3-8b", "llama-2-7b", "olmo-7b"])
    ['llama-3-8b', 'llama-2-7b']
    """
    name = text.rpartition("/")[2].lower()
    typed = words(name)
    family = [model_id for model_id in ids if words(model_id)[:1] == typed[:1]]
    if not family:
        alike = [] if "/" in text else nearest(name, ids)
        return [model_id for model_id in alike if nearest(typed[0] if typed else "", words(model_id)[:1])]
    longer = [model_id for model_id in family if words(model_id)[: len(typed)] == typed]
    return nearest(name, longer or family, count) or sorted(longer or family)[:count]
