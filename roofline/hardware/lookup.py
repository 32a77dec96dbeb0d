"""Finds a device by the name a person types; takes a unique reading and says so, and never guesses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import combinations

import msgspec

from ..errors import shown
from . import boards
from .catalog import Head, catalog_device, complete, device_ids, heads
from .device import Device
from .driver_names import by_driver_name, sharing
from .errors import HardwareError, quoted
from .instances import like
from .words import tokens

_REMEDY = "('roofline devices' lists all; a path to a .toml works too)"
_MOST_SHOWN = 8
_MOST_OF_SERIES = 12

# Words that people leave out or add: none of them tells a device from another one.
_MAKERS = frozenset({"nvidia", "amd", "intel", "google", "aws", "apple", "huawei", "habana"})
_SERIES = frozenset(
    {
        *("geforce", "radeon", "instinct", "tesla", "quadro", "rtx", "gtx", "rx", "arc", "tpu", "jetson", "core"),
        *("ryzen", "epyc", "xeon", "platinum", "accelerator", "gpu", "graphics", "card", "generation", "edition"),
        *("tm", "r", "vf", "hf"),
    }
)
_TELLING = frozenset({"quadro"})  # of these, what tells boards of one number apart: the Quadro RTX 6000 is Turing's
_NOT_HERE = ({"jetson", "nano"}, {"jetson", "nx"})  # of 2019, not the Orin ones
_SPELT = {"mobile": "laptop", "notebook": "laptop", "sxm4": "sxm", "sxm5": "sxm", "sxm6": "sxm", "gib": "gb"}
_COMPUTER = re.compile(r"(macbook( pro| air)?|mac (studio|mini|pro)|imac)\s+(?=m\d)", re.IGNORECASE)  # around a chip
_HERE = frozenset({"gpu", "cuda", "mps", "rocm", "xpu", "auto"})  # what frameworks call the device of this machine
_LONGEST = 80  # characters of a name that people type
_LONG_ENOUGH = 4  # letters of a word that may be the start of a longer one: 8480 of 8480plus


def find(word: str) -> Device:
    """The device a word names: an id in any spelling, an alias, a driver's exact name, or the one reading of it.

    A reading that is not a name of the device is said in its caveats.

    Raises:
        HardwareError: several devices fit (they are listed), or none does (the nearest of its family are).
    """
    word = _COMPUTER.sub("", word)
    device = _named(word)
    if device is not None:
        return device
    readings = () if _another(word) else _readings(word)
    if len(readings) == 1:
        return _said(catalog_device(readings[0]), word)
    if not readings:
        of_class = _power_class(word)
        if of_class is not None:
            return of_class
    raise HardwareError(_not_found(word, readings))


def _named(word: str) -> Device | None:
    """The device that has exactly this id, alias or driver's name."""
    wanted, spelt = tokens(word), "".join(tokens(word))
    for key in device_ids():
        if "".join(tokens(key)) == spelt:
            return catalog_device(key)
    # "A100" is what people call four boards: a bare family word asks back. A driver's full name does not.
    if len(variants(word)) > 1 and wanted[:1] != ("nvidia",):
        return None
    for key, head in heads().items():
        if any(tokens(alias) == wanted for alias in head.aliases):
            return catalog_device(key)
    return by_driver_name(word)


def variants(word: str) -> list[str]:
    """Ids that hold every whole word of `word`, e.g. all boards called H100.

    >>> variants("h200")
    ['h200-nvl-141gb', 'h200-sxm-141gb']
    """
    wanted = set(tokens(word)) - _MAKERS - {"gpu"}
    if not wanted:
        return []
    return [device_id for device_id in device_ids() if wanted <= set(tokens(device_id))]


def _said(device: Device, word: str) -> Device:
    return msgspec.structs.replace(device, caveats=(*device.caveats, f"'{word}' is read as {device.id}"))


@lru_cache(maxsize=64)
def _readings(word: str) -> tuple[str, ...]:
    """Ids that a person may mean by a word, from the strictest way of reading that fits any device."""
    wanted = _spelt(word)
    core = _core(wanted)
    if len(word) > _LONGEST or not any(len(part) > 2 or not part.isalpha() for part in core):  # "x" names nothing
        return ()
    known = {key: _core(_spelt(key)) for key in heads()}
    for found in (
        [key for key, words in known.items() if "".join(words) == "".join(core) and _told(key) == _told(word)],
        _holding(core, starts=False),
        _holding(core, starts=True),
    ):
        if found:
            return tuple(_likely(found, wanted))
    return ()


def _another(word: str) -> bool:
    """Whether a word is the whole name of a product that the catalog lacks, while longer names of others hold it."""
    return {token for token in _spelt(word) if not re.fullmatch(r"\d*(gb)?|developer|kit|nvidia", token)} in _NOT_HERE


def _told(word: str) -> frozenset[str]:
    return _TELLING.intersection(tokens(word))


def _spelt(word: str) -> tuple[str, ...]:
    return tuple(_SPELT.get(token, token) for token in tokens(word))


def _core(words: Iterable[str]) -> tuple[str, ...]:
    """The words that tell a device from others."""
    return tuple(word for word in words if word not in _MAKERS and word not in _SERIES)


def _holding(core: tuple[str, ...], *, starts: bool) -> list[str]:
    """Ids of devices of which each word of `core` is a word, run-together words, or (`starts`) the start of one."""
    found = []
    for key, head in heads().items():
        vocabulary = _vocabulary(head)
        if all(word in vocabulary or (starts and _begins(word, vocabulary)) for word in core):
            found.append(key)
    return found


def _begins(word: str, vocabulary: frozenset[str]) -> bool:
    rests = [known[len(word) :] for known in vocabulary if known.startswith(word)]
    return len(word) >= _LONG_ENOUGH and any(
        rest.isalpha() or (word[-1].isalpha() and rest.isdigit()) for rest in rests
    )


@lru_cache(maxsize=1024)
def _vocabulary(head: Head) -> frozenset[str]:
    """Words of a device's names, and every run of neighbouring ones as one word ("3060ti", "gaudi3")."""
    found = set()
    for name in (head.id, head.name, *head.nvml_names, *head.aliases):
        words = _spelt(name)
        found |= {"".join(words[start:end]) for start, end in combinations(range(len(words) + 1), 2)}
    return frozenset(found)


def _likely(found: list[str], wanted: tuple[str, ...]) -> list[str]:
    """Without rare boards, and without the CPU of a chip, unless their own words are there."""
    kept = [key for key in found if not heads()[key].rare] or found
    kept = [
        key for key in kept if set(_core(wanted)) <= set(_spelt(key))
    ] or kept  # of its own name before a shared one
    if "cpu" not in wanted:
        kept = [key for key in kept if heads()[key].kind != "cpu"] or kept
    families = {boards.laptop_family(key) for key in kept}
    return [families.pop()] if len(families) == 1 and len(kept) > 1 else kept


def _power_class(word: str) -> Device | None:
    """A laptop's chip at a power limit between its classes: ``rtx-3060-laptop-100w``, ``3060 laptop 100 W``."""
    match = re.fullmatch(r"(.*?laptop.*?)[\s-]*(\d+)\s*w(?:att)?", " ".join(_spelt(word)))
    if match is None:
        return None
    family = find(match[1])
    return complete(boards.figures(boards.at_power(family.id, float(match[2]))))


def _not_found(word: str, readings: tuple[str, ...]) -> str:
    family = list(readings) or list(sharing(word)) or variants(word)
    if len(family) > 1:
        listed = family[:_MOST_SHOWN]
        more = f" and {len(family) - len(listed)} more" if len(family) > len(listed) else ""
        return f"ambiguous device {shown(word)}: which one, {quoted(listed)}{more}? {_REMEDY}"
    if word.lower() in _HERE:
        return f"unknown device {shown(word)}: 'local' is the one of this machine {_REMEDY}"
    close = family or like(word)[:_MOST_SHOWN] or _of_family(word)
    hint = f": did you mean {quoted(close)}?" if close else _series_words(word)
    return f"unknown device {shown(word)}{hint} {_REMEDY}"


def _series_words(word: str) -> str:
    """What there is of the series that a word names, where that is a short list; nothing otherwise."""
    series = set(tokens(word)) & _SERIES
    there = [key for key in device_ids() if series & set(tokens(key))]
    return f": of that series there are {quoted(there)}" if 0 < len(there) <= _MOST_OF_SERIES else ""


def _of_family(word: str) -> list[str]:
    """Ids of the family that a misspelt word is of: a word with the same letters before a number like it."""
    series = set(tokens(word)) & _SERIES
    family = [key for key in device_ids() if not series or series & set(tokens(key))]
    found = [key for key in family if word and key.startswith(word.lower())]
    strange = any(token.isalpha() and not _known_word(token) for token in _core(_spelt(word)))
    for token in _core(_spelt(word)):
        if strange and token[:1].isdigit():  # the number of another family
            continue
        found += [key for key in family if any(_alike(token, known) for known in tokens(key))]
    return list(dict.fromkeys(found))[:_MOST_SHOWN]


@lru_cache(maxsize=64)
def _known_word(word: str) -> bool:
    """Whether a word is one of any device's id, or a letter from one."""
    return any(word == known or _alike(word, known) for key in device_ids() for known in tokens(key))


def _alike(word: str, known: str) -> bool:
    """Whether two words have the same letters before numbers that differ by a digit; words without numbers, a letter.

    >>> _alike("h101", "h100"), _alike("3061", "3060"), _alike("3060", "b300"), _alike("ampre", "ampere")
    (True, True, False, True)
    >>> _alike("170hx", "170"), _alike("wse", "ws")
    (False, False)
    """
    letters, number, rest = _split(word)
    others, other, behind = _split(known)
    if not number:
        return not other and len(word) > 3 and _a_letter_apart(word, known)
    if letters != others or rest != behind or len(number) != len(other) or len(number) < 3:
        return False
    return number[0] == other[0] and sum(a != b for a, b in zip(number, other, strict=True)) <= 1


def _a_letter_apart(word: str, known: str) -> bool:
    """Whether one letter more, less or other makes a word the other one."""
    long, short = sorted((word, known), key=len, reverse=True)
    same = next((at for at, (a, b) in enumerate(zip(long, short, strict=False)) if a != b), len(short))
    return long[same + 1 :] == short[same + (len(long) == len(short)) :]


def _split(word: str) -> tuple[str, str, str]:
    """The letters before a word's number, the number, and what follows."""
    match = re.match(r"([a-z]*)(\d*)(.*)", word)
    assert match is not None
    return match[1], match[2], match[3]
