"""What became of every key of a run's files; a key that no rule knows and that sizes something is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from ..errors import RooflineError
from .fields import STANDS_FOR
from .framework import load_framework
from .keys import leaves
from .result import ConfigReport, ReadKey
from .rules import NOTE, REFUSAL, Rules, short
from .values import Unresolved

_SIZES = re.compile(
    r"(^|[_.])(micro_?batch|global_?batch|batch_?size|seq(uence)?_?len(gth)?|max_length|block_size|num_layers|n_layers?|"
    r"hidden_size|n_heads?|num_(attention_)?heads|num_experts|n_experts|vocab_size|world_size|num_nodes|nnodes|"
    r"\w*(ffn|mlp|emb|hidden|model|intermediate)_?(dim|size)|\w*(query|kv|key_value)_(heads|groups)|\w*decoder_layers|"
    r"\w*accumulation(_steps)?|\w*parallelism|"
    r"\w*parallel\w*(size|degree|dim)|(tensor|pipeline|context|expert)_parallel\w*)$"
)
_NO_SIZE = re.compile(
    r"eval|valid|test|infer|generat|prompt|image|vision|vit|audio|draft|teacher|data|buffer|queue|log|"
    r"bucket|prefetch|tokeniz|shuffle|sampler|rl|ref_|loader"
)


def account(rules: Rules, assumed: Sequence[str]) -> ConfigReport:
    """What became of every key.

    Raises:
        RooflineError: A key that no rule knows has a name that says it sizes something.
    """
    read, ignored, unknown = [], [], []
    known = rules.known_keys()
    lists_all = rules.files.documents[0].form == "dump"  # every argument of the program, at its default or not
    for key, value in leaves(rules.files.values):
        uses = dict.fromkeys(STANDS_FOR.get(option, option) for option in rules.uses.get(key, []))
        options = [each for each in uses if each not in {NOTE, REFUSAL}] or [each for each in uses if each == NOTE]
        if options:
            read.append(ReadKey(key=shown(rules, key), value=plain(value), option=", ".join(options)))
        elif (
            (key not in rules.keys.read and is_neutral(rules, key, value))
            or lists_all
            or key in rules.keys.read
            or key in known
            or key in rules.files.of_bases
            or is_harmless(rules, key)
        ):
            ignored.append(shown(rules, key))
        else:
            refuse_size(rules, key, value)
            unknown.append(shown(rules, key))
    title = rules.framework.title
    defaults = [f"{key} = {short(value)} ({title}'s default)" for key, value in rules.keys.assumed.items()]
    return ConfigReport(
        framework=rules.files.shown,
        files=[document.path for document in rules.files.documents],
        read=read,
        assumed=[*assumed, *defaults],
        ignored=ignored,
        not_understood=unknown,
    )


def shown(rules: Rules, key: str) -> str:
    """A key as its file has it: without the name under which a part's table lies."""
    head, _, rest = key.partition(".")
    return rest if head in rules.files.parts and rest else key


def is_harmless(rules: Rules, key: str) -> bool:
    """Whether a key is among those without bearing on time or memory."""
    bare = key.rsplit(".", 1)[-1]
    launched = any(document.form == "shell" for document in rules.files.documents)
    if launched and key in load_framework("_launchers").harmless:
        return True
    return any(fnmatchcase(key, pattern) or fnmatchcase(bare, pattern) for pattern in rules.framework.harmless)


def is_neutral(rules: Rules, key: str, value: Any) -> bool:
    """Whether a key that would size something is at the value at which it does not; False for any other key.

    Raises:
        RooflineError: It is at another value.
    """
    neutral = rules.framework.neutral
    name = key if key in neutral else key.rsplit(".", 1)[-1]
    if name not in neutral or value in (None, "None", neutral[name]):
        return name in neutral
    raise RooflineError(
        f"{rules.where}: {key} = {short(value)} changes what a step costs and is not modelled (without it it is "
        f"{short(neutral[name])}): take it out of the file to estimate the run without it"
    )


def refuse_size(rules: Rules, key: str, value: Any) -> None:
    """Refuse a key that no rule knows and that sizes something."""
    sizes = isinstance(value, (int, float)) and not isinstance(value, bool) and value not in {0, 1, -1}
    if sizes and _SIZES.search(key) and not _NO_SIZE.search(key):
        raise RooflineError(
            f"{rules.where}: {key} = {short(value)} is not understood, and its name says that it sizes something: "
            "take it out of the file, and give what it means as an option"
        )


def plain(value: Any) -> Any:
    """A value that JSON takes."""
    return value.text if isinstance(value, Unresolved) else value
