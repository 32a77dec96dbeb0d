"""What people type (``300B``, ``80GiB``, ``7d``) read exactly; figures written with their unit.

Every reader takes text as typed on a command line (argparse ``type=``) or a Python number, and raises
`UnitError` for what has no sensible meaning: NaN, infinity, booleans, negatives, a missing or ambiguous unit.
"""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from collections.abc import Mapping

from .errors import RooflineError, shown

DECIMAL = {"": 0, "k": 3, "K": 3, "M": 6, "m": 6, "B": 9, "b": 9, "G": 9, "T": 12, "t": 12, "P": 15, "E": 18}
LENGTHS = {"": 1, "k": 1024, "K": 1024, "M": 1024**2}
BYTES = {"": 1, "B": 1, "kB": 10**3, "kiB": 2**10} | {
    f"{prefix}{kind}": base**power
    for power, prefix in enumerate("KMGTP", start=1)
    for kind, base in (("B", 1000), ("iB", 1024))
}
SECONDS = {
    name: seconds
    for names, seconds in (
        ("us µs", 1e-6),
        ("ms", 1e-3),
        ("s sec", 1),
        ("m min", 60),
        ("h hr hour hours", 3600),
        ("d day days", 86400),
        ("w week weeks", 7 * 86400),
        ("y year years", 365 * 86400),
    )
    for name in names.split()
}
WATTS = {"": 1, "W": 1, "kW": 10**3, "MW": 10**6}
PER_HOUR = {"", "/h", "/hr", "/hour", "/gpu-hour", "/device-hour"}
LARGEST = 10**30  # more tokens, FLOPs or bytes than anyone has: a typing error
MOST = 10**12  # of devices, sequences or tokens of a sequence, likewise; what a search divides and keeps in 64 bits
_LONG = 60  # digits, or powers of ten: more is nonsense
_MOST = 10**_LONG
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+(?:_\d+)*|(?=\.\d))(?:\.\d*)?(?:[eE][+-]?\d+)?"
_QUANTITY = rf"\s*(-?)({_NUMBER})\s*([A-Za-zµ]*)\s*"  # compiled where used, as all that follow: start-up time
_DURATIONS = rf"(?:{_NUMBER}\s*[A-Za-zµ]+\s*){{2,}}"

Typed = str | float  # as typed, or a Python number


class UnitError(RooflineError, ArgumentTypeError):
    """A quantity that cannot be read: what was got, and what is allowed."""


def _quoted(typed: object) -> str:
    """What was typed, in quotes and on one line."""
    return shown(typed if isinstance(typed, str) or typed is None else str(typed))


def _split(typed: Typed, allowed: str) -> tuple[int, int, str]:
    """What was typed as (digits, exponent, unit), exactly: 2.5T is (25, -1, "T")."""
    number_given = isinstance(typed, (int, float)) and not isinstance(typed, bool)
    if number_given and not -_MOST < typed < _MOST:
        raise UnitError(f"{shown(typed)} is out of range: give {allowed}")
    text = str(typed) if number_given else typed if isinstance(typed, str) else ""
    match = re.fullmatch(_QUANTITY, text, re.ASCII)
    if match is None:
        raise UnitError(f"{_quoted(typed)} is not a number: give {allowed}")
    sign, number, unit = match.groups()
    mantissa, _, power = number.replace(",", "").replace("_", "").lower().partition("e")
    whole, _, fraction = mantissa.partition(".")
    exponent = (int(power or 0) if len(power) < _LONG else _LONG) - len(fraction)
    if sign or not -_LONG < exponent < _LONG or len(whole) > _LONG:
        raise UnitError(f"{_quoted(typed)} is out of range: give {allowed}")
    return int(whole + fraction), exponent, unit


def _exact(digits: int, exponent: int) -> int | float:
    """``digits * 10**exponent``, an integer where it is one."""
    scale: int = 10 ** abs(exponent)
    if exponent >= 0:
        return digits * scale
    return digits // scale if digits % scale == 0 else digits / scale


def _measure(typed: Typed, units: Mapping[str, float], allowed: str) -> int | float:
    """A quantity above zero in base units."""
    digits, exponent, unit = _split(typed, allowed)
    if unit not in units:
        problem = f"has an unknown unit {unit!r}" if unit else "has no unit"
        raise UnitError(f"{_quoted(typed)} {problem}: give {allowed}")
    factor = units[unit]
    value = _exact(digits * factor, exponent) if isinstance(factor, int) else _exact(digits, exponent) * factor
    if not 0 < value <= LARGEST:
        raise UnitError(f"{_quoted(typed)} is out of range: give {allowed}")
    return value


def _whole(typed: Typed, units: Mapping[str, float], allowed: str, most: int = LARGEST) -> int:
    if type(typed) is int and 0 < typed <= most and "" in units:
        return typed
    value = _measure(typed, units, allowed)
    if not isinstance(value, int):
        raise UnitError(f"{_quoted(typed)} is not a whole number: give {allowed}")
    if value > most:
        raise UnitError(f"{_quoted(typed)} is out of range: give at most {most:,}")
    return value


_DECIMAL_FACTORS = {suffix: 10**power for suffix, power in DECIMAL.items()}


def positive(typed: Typed) -> int | float:
    """Read a number above zero, with k, M, B or T if wanted.

    >>> positive("24k"), positive("0.5"), positive("1e6")
    (24000, 0.5, 1000000)
    """
    return _measure(typed, _DECIMAL_FACTORS, "a number above 0, such as 0.5, 24000 or 24k")


def amount(typed: Typed) -> int | float:
    """Read a number that may be 0, such as an average.

    >>> amount("0"), amount("1.5")
    (0, 1.5)
    """
    zero = typed.strip() in {"0", "0.0"} if isinstance(typed, str) else not isinstance(typed, bool) and typed == 0
    return 0 if zero else positive(typed)


def count(typed: Typed) -> int:
    """Read a number of tokens, parameters or FLOPs, exactly; k, M, B and T are powers of a thousand.

    >>> count("300B"), count("2,000B"), count("2e12"), count("1.1T")
    (300000000000, 2000000000000, 2000000000000, 1100000000000)
    """
    return _whole(typed, _DECIMAL_FACTORS, "a whole number of at least 1, such as 300B, 2e12, 2T or 2,000B")


def positive_int(typed: Typed) -> int:
    """Read a plain whole number of at least 1: layers, devices, a batch.

    >>> positive_int("8"), positive_int("2,048"), positive_int("1e3")
    (8, 2048, 1000)
    """
    return _whole(typed, {"": 1, "k": 1000}, "a whole number of at least 1", MOST)


def sequence_length(typed: Typed) -> int:
    """Read a sequence length; k is 1024 here, as the field writes it.

    >>> sequence_length("2k"), sequence_length("128K"), sequence_length("2000")
    (2048, 131072, 2000)
    """
    return _whole(typed, LENGTHS, "a whole number of tokens of at least 1, such as 2048 or 2k (here k is 1024)", MOST)


def byte_count(typed: Typed) -> int:
    """Read a number of bytes: GB is 1e9, GiB is 2**30, no unit is bytes.

    >>> byte_count("80GiB"), byte_count("80 GB"), byte_count("4096")
    (85899345920, 80000000000, 4096)
    """
    allowed = "bytes above 0, such as 80GiB (2**30 each) or 80GB (1e9 each)"
    unit = _split(typed, allowed)[2]
    if unit in {"K", "k", "M", "G", "T", "P"}:
        raise UnitError(f"{_quoted(typed)} is ambiguous: write {unit}B (powers of 1000) or {unit}iB (powers of 1024)")
    return round(_measure(typed, BYTES, allowed))


def duration_s(typed: Typed) -> int | float:
    """Read a duration in seconds from one number with its unit, or several; a Python number is seconds.

    >>> duration_s("7d"), duration_s("36h"), duration_s("1d12h"), duration_s("90 min")
    (604800, 129600, 129600, 5400)
    """
    allowed = "a duration above 0 with its unit (s, m, h, d, w, y), such as 7d, 36h or 1d12h"
    if not isinstance(typed, str):
        return _measure(typed, {"": 1}, allowed)
    if re.fullmatch(_DURATIONS, typed.strip(), re.ASCII):
        return sum(_measure(part, SECONDS, allowed) for part in re.findall(rf"{_NUMBER}\s*[A-Za-zµ]+", typed))
    return _measure(typed, SECONDS, allowed)


def step_time_s(typed: Typed) -> int | float:
    """Read a step time: seconds, or with its unit.

    >>> step_time_s("13.78"), step_time_s("340ms")
    (13.78, 0.34)
    """
    return _measure(typed, {"": 1, **SECONDS}, "a time above 0, such as 13.78 (seconds) or 340ms")


def price(typed: Typed) -> int | float:
    """Read a price per device-hour, in whatever currency.

    >>> price("2.5/h"), price("$2.50"), price("3")
    (2.5, 2.5, 3)
    """
    allowed = "a price above 0 per device-hour, such as 2.5 or 2.5/h"
    if not isinstance(typed, str):
        return _measure(typed, {"": 1}, allowed)
    number, slash, unit = re.sub(r"^\s*[$€£]", "", typed).partition("/")
    if (slash + unit).lower().strip() not in PER_HOUR:
        raise UnitError(f"{typed!r} is not per hour: give {allowed}")
    return _measure(number, {"": 1}, allowed)


def power(typed: Typed) -> int | float:
    """Read a power in watts.

    >>> power("700"), power("700W"), power("0.7kW")
    (700, 700, 700)
    """
    return _measure(typed, WATTS, "a power above 0, such as 700W or 0.7kW")


def share(typed: Typed) -> float:
    """Read a share of a whole, as a fraction or in percent.

    >>> share("50%"), share("0.5")
    (0.5, 0.5)
    """
    allowed = "a share above 0 and at most 1, such as 0.5 or 50%"
    percent = isinstance(typed, str) and typed.rstrip().endswith("%")
    value = _measure(typed.rstrip().removesuffix("%") if isinstance(typed, str) else typed, {"": 1}, allowed)
    value = value / 100 if percent else value
    if value > 1:
        raise UnitError(f"{_quoted(typed)} is out of range: give {allowed}")
    return value


def overhead(typed: Typed) -> int | float:
    """Read the energy of a data centre over that of its computers (PUE): at least 1.

    >>> overhead("1.1")
    1.1
    """
    allowed = "a factor of at least 1, such as 1.1"
    value = _measure(typed, {"": 1}, allowed)
    if value < 1:
        raise UnitError(f"{_quoted(typed)} is out of range: give {allowed}")
    return value


def _scaled(value: float, digits: str, scales: tuple[tuple[float, str], ...]) -> str:
    """`value` over the largest scale it reaches once rounded; scales rise."""
    texts = [format(value / scale, digits) for scale, _ in scales]
    reached = [i for i, text in enumerate(texts) if abs(float(text.replace(",", ""))) >= 1]
    chosen = max(reached, default=0)
    return texts[chosen] + scales[chosen][1]


def format_count(value: float) -> str:
    """Write a count in three digits; below ten thousand, exactly.

    >>> format_count(1637020800), format_count(9999), format_count(300e9), format_count(2.5e6)
    ('1.64B', '9,999', '300B', '2.5M')
    """
    if math.isinf(value):
        return f"{value}"
    if abs(value) < 10_000 and value == int(value):
        return f"{int(value):,}"
    return _scaled(value, ".3g", ((1, ""), (1e3, "k"), (1e6, "M"), (1e9, "B"), (1e12, "T")))


def format_number(number: int, of: str) -> str:
    """Write a number of things in full.

    >>> format_number(1, "device"), format_number(1024, "device")
    ('1 device', '1,024 devices')
    """
    return f"{number:,} {of}" + ("" if number == 1 else "s")


def format_ratio(value: float) -> str:
    """Write a ratio in three digits, never with an exponent.

    >>> format_ratio(20.04), format_ratio(2533.1), format_ratio(7.04e9)
    ('20', '2,530', '7.04B')
    """
    return format_count(float(f"{value:.3g}"))


def format_bytes(value: float) -> str:
    """Write bytes in GiB (2**30), as drivers report capacity; less than one in MiB, KiB or B.

    >>> format_bytes(4 * 1637020800), format_bytes(80 * 2**30), format_bytes(3 * 2**20)
    ('6.10 GiB', '80.00 GiB', '3.00 MiB')
    """
    if abs(value) < 2**10:
        return f"{value:.0f} B"
    return _scaled(value, ",.2f", ((2**10, " KiB"), (2**20, " MiB"), (2**30, " GiB")))


def format_time(seconds: float) -> str:
    """Write a duration in the unit people would use.

    >>> [format_time(value) for value in (12.3e-6, 0.34, 13.78, 5400, 3600 * 36, 86400 * 4.53)]
    ['12.3 us', '340 ms', '13.8 s', '90 min', '36 h', '4.53 days']
    """
    if seconds < 120:
        return _scaled(seconds, ".3g", ((1e-6, " us"), (1e-3, " ms"), (1, " s")))
    if seconds < 2 * 3600:
        return f"{seconds / 60:.3g} min"
    return (
        f"{seconds / 3600:.3g} h" if seconds < 2 * 86400 else f"{seconds / 86400:,.{2 if seconds < 864e3 else 1}f} days"
    )


def format_time_like(seconds: float, like: float) -> str:
    """Write a duration in the unit of another.

    >>> format_time_like(158, like=88), format_time_like(0.0025, like=1.2), format_time_like(math.inf, like=7200)
    ('158 s', '0.0025 s', 'inf h')
    """
    text, unit = format_time(seconds), format_time(like).split()[1]
    return text if text.endswith(f" {unit}") else f"{format_ratio(seconds / SECONDS[unit])} {unit}"


def format_time_range(low: float, expected: float, high: float) -> str:
    """Write the ends of an interval in the unit of what is expected.

    >>> format_time_range(0.9993, 1.01, 1.023), format_time_range(36e3, 69e3, 480e3), format_time_range(7.8, 8.1, 9.9)
    ('0.999 s to 1.02 s', '10 h to 133 h', '7.8 s to 9.9 s')
    """
    return f"{format_time_like(low, expected)} to {format_time_like(high, expected)}"


def format_amount(value: float) -> str:
    """Write money, device-hours or energy: whole units where there are many.

    >>> format_amount(1784.2), format_amount(1.927)
    ('1,784', '1.93')
    """
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def format_si(value: float, unit: str) -> str:
    """Write a figure with an SI prefix and two decimals.

    >>> format_si(3.35e12, "B/s"), format_si(0.5, "FLOP/B")
    ('3.35 TB/s', '0.50 FLOP/B')
    """
    return _scaled(value, ".2f", tuple((10.0**power, f" {p}{unit}") for power, p in _SI))


_SI = tuple(zip(range(0, 31, 3), ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q"), strict=True))


def format_flops(value: float) -> str:
    """Write a number of floating-point operations.

    >>> format_flops(3350357803008), format_flops(42)
    ('3.35 TFLOPs', '42.00 FLOPs')
    """
    return format_si(value, "FLOPs")


def format_rate(value: float) -> str:
    """Write a rate of floating-point operations.

    >>> format_rate(989.5e12)
    '989.50 TFLOP/s'
    """
    return format_si(value, "FLOP/s")


def format_share(value: float) -> str:
    """Write a share of a whole in percent.

    >>> format_share(0.50849)
    '50.8 %'
    """
    return f"{100 * value:.1f} %"
