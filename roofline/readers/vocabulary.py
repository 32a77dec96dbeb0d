"""Words of frameworks as ours: optimizers, attention kernels, modules with adapters; they are in ``words.toml``."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from ..config.optimizer import spellings
from ..reading import packaged, read_packaged


@lru_cache(maxsize=1)
def _tables() -> dict[str, dict[str, str]]:
    tables = read_packaged(packaged(__name__) / "words.toml", dict[str, dict[str, str]])
    tables["optimizer"] |= {word.replace("-", "_"): name for word, name in spellings().items()}
    return tables


def our_word(kind: str, name: Any) -> str | None:
    """Our word for a framework's; the name itself in lower case where there is none, so that an error can say it.

    >>> our_word("optimizer", "torchao.optim.AdamW8bit"), our_word("optimizer", "paged_adamw_32bit")
    ('adamw-8bit', 'adamw-paged')
    >>> our_word("attention", "kernels-community/vllm-flash-attn3"), our_word("optimizer", None)
    ('flash3', None)
    """
    if name is None or name == "":
        return None
    table = _tables()[kind]
    plain = str(name).strip().lower().replace("-", "_")
    for word in (plain, plain.rsplit(".", 1)[-1], plain.rsplit("/", 1)[-1]):
        if word in table:
            return table[word]
        found = [pattern for pattern in table if "*" in pattern and fnmatchcase(word, pattern)]
        if found:
            return table[max(found, key=lambda pattern: len(pattern.replace("*", "")))]
    return str(name).strip().lower()


_ALTERNATIVES = re.compile(r"\(((?:\w+\|)+\w+)\)_proj")  # of a pattern: (up|down)_proj
ALL = frozenset({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"})
_EVERY = frozenset({"all", "all-linear", "all_linear", "*_proj", "linear", "*"})


def adapter_words(targets: Any) -> str | None:
    r"""The modules of adapters in the words of ``--lora-modules``; what is no projection of a layer is left out.

    >>> adapter_words("all-linear"), adapter_words(["gate_proj", "up_proj", "down_proj"])
    ('all', 'gate_proj,up_proj,down_proj')
    >>> adapter_words(["q_proj", "output_proj", "lm_head"]), adapter_words(r".*\.(q_proj|v_proj)$")
    ('q_proj,o_proj', 'q_proj,v_proj')
    >>> adapter_words(r"layers.[\d]+.(mlp|self_attn).(up|down|gate|q|k|v|o)_proj")
    'all'
    """
    table = _tables()["targets"]
    if targets is None:
        return None
    words = [str(each) for each in targets] if isinstance(targets, list) else re.split(r"[,\s]+", str(targets))
    spelt = [name for word in words for names in _ALTERNATIVES.findall(word) for name in names.split("|")]
    words = [f"{name}_proj" for name in spelt] or words
    if any(word.lower() in _EVERY for word in words):
        return "all"
    found: list[str] = []
    for word in words:
        last = word.lower().rsplit(".", 1)[-1]
        names = [last] if last in table else [name for name in re.findall(r"\w+", word.lower()) if name in table]
        found += [table[name] for name in names if table[name] not in found]
    if (
        set(found) >= ALL
        or {"attention", "mlp"} <= set(found)
        or {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"} <= set(found)
    ):
        return "all"
    return ",".join(found) or None


def not_projections(targets: Any) -> list[str]:
    """Targets of adapters that are no projection of a layer: the head, embeddings, a router."""
    table = _tables()["targets"]
    if not isinstance(targets, list):
        return []
    words = [str(each) for each in targets]
    return [
        word
        for word in words
        if word.lower() not in _EVERY and not any(name in table for name in re.findall(r"\w+", word.lower()))
    ]
