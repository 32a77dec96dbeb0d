"""How a framework may have come to the MFU it printed: rules, peaks and counts that differ, alone and by twos."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from itertools import combinations
from typing import TYPE_CHECKING, Any

import msgspec

from ..config.run import DTYPES, TrainConfig
from ..counting.mfu import attention_flops_per_token, matmul_weights, model_flops_per_token
from ..errors import RooflineError
from ..model.parameters import count_parameters
from ..model.spec import ModelConfig
from ..units import format_share

if TYPE_CHECKING:
    from ..hardware import Device

AGREE = 0.03  # two figures of one run that differ by less are the same
SAME_FACTOR = 0.005  # mistakes that come to the same are one
LISTED = 5  # causes named
ENOUGH = 2  # causes that make two together idle
MOST = 1000.0  # times the peak: beyond, it is no MFU
# How often each kind is met, over that of a rule of one's own: an assumption that orders causes, and prices none.
COMMON, USUAL, RARE, FAR, LEAST = 1.0, 0.6, 0.3, 0.1, 0.01
ELSEWHERE = ("laptop", "SoC")  # form factors that nobody takes a board for


class Printed(msgspec.Struct, frozen=True):
    """An MFU as a framework printed it, and what its rounding leaves open; both as fractions."""

    value: float
    rounding: float = 0.0

    def agrees(self, value: float) -> bool:
        """Whether this may be `value`: within 3 %, or within the rounding of what was typed."""
        return abs(value - self.value) <= max(AGREE * self.value, self.rounding)

    def off(self, value: float) -> float:
        """How far `value` is off, in units of what is allowed."""
        return abs(value - self.value) / max(AGREE * self.value, self.rounding)


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """Something that may be otherwise than stated, and by what factor the printed MFU is then off."""

    kind: str  # rule, peak or count: two of a kind do not combine
    what: str
    how: str  # the factor as arithmetic
    factor: float
    odds: float


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A way to the printed figure.

    Attributes:
        what: In words, with the arithmetic.
        mfu: The MFU that is so printed, or, where nothing was measured, the MFU that the run then really has.
        mistakes: What it takes, one or two.
    """

    what: str
    mfu: float
    mistakes: tuple[str, ...]


def read_printed(value: Any) -> Printed:
    """Read an MFU as frameworks print it: ``28.9 %``, ``28.9``, ``0.289``, ``200%``.

    A number above 2 is in percent. The last digit that is not a filling zero, of two at least, tells the rounding.

    >>> read_printed("28.9 %"), read_printed(0.28), read_printed("200%").rounding
    (Printed(value=0.289, rounding=0.001), Printed(value=0.28, rounding=0.01), 0.1)

    Raises:
        RooflineError: It is no positive number, or no MFU.
    """
    text = repr(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
    number = text.strip().removesuffix("%").strip()
    try:
        figure = float(number)
    except ValueError:
        figure = math.nan
    in_percent = text.strip().endswith("%") or figure > 2
    fraction = figure / 100 if in_percent else figure
    if not (0 < fraction < MOST):
        raise RooflineError(f"reported_mfu: {text!r} is not an MFU: give what was printed, such as 28.9% or 0.289")
    return Printed(fraction, _last_digit(number) / (100 if in_percent else 1))


def _last_digit(number: str) -> float:
    """The value of one in the last digit that says something: two digits at least do.

    >>> [_last_digit(number) for number in ("28.9", "200", "563", "0.28", "88.32")]
    [0.1, 10.0, 1.0, 0.01, 0.01]
    """
    mantissa = number.lower().split("e")[0].lstrip("+-")
    digits = mantissa.replace(".", "").lstrip("0")
    decimals = len(mantissa.partition(".")[2])
    filling = len(digits) - len(digits.rstrip("0")) if not decimals else 0
    significant = max(len(digits) - filling, min(2, len(digits)))
    return float(f"1e{len(digits) - significant - decimals}")


# --- what may be otherwise -------------------------------------------------------------------------------


def mistakes(model: ModelConfig, device: Device, train: TrainConfig, hfu_over_mfu: float) -> list[Mistake]:
    """Everything that is commonly otherwise, each with the factor by which it changes a printed MFU."""
    found = [*_rules(model, train, hfu_over_mfu), *_peaks(device, train.dtype), *_counts(device, train)]
    return [one for one in found if abs(one.factor - 1) > SAME_FACTOR]


def _rules(model: ModelConfig, train: TrainConfig, hfu_over_mfu: float) -> Iterator[Mistake]:
    """Which parameters count as N, and how attention counts; and recompute, where there is any."""
    length = train.sample_length
    ours = float(model_flops_per_token(model, length))
    parameters, weights = count_parameters(model), matmul_weights(model)
    head = (model.embedding_dim or model.d_model) * model.vocab_size if model.has_head else 0
    counted = {
        "all parameters": parameters.active,
        "all parameters but positions": parameters.active - parameters.positions,
        "the weights that multiply a token": weights,
        "the layers' weights alone": weights - head,
    }
    attention = {
        "no attention": 0.0,
        "causal attention": float(attention_flops_per_token(model, length, causal=True)),
        "full attention": float(attention_flops_per_token(model, length)),
    }
    for of, number in counted.items():
        for how, flops in attention.items():
            total = 6 * number + 3 * flops
            odds = USUAL if of != "the layers' weights alone" else RARE
            yield Mistake(
                kind="rule",
                what=f"6N with N {of}, and {how}",
                how=f"{total / 1e9:.3g}/{ours / 1e9:.3g} GFLOPs a token",
                factor=total / ours,
                odds=odds,
            )
    if hfu_over_mfu > 1 + SAME_FACTOR:
        yield Mistake(
            kind="rule",
            what="HFU: recompute counted as well",
            how=f"{hfu_over_mfu:.3g}",
            factor=hfu_over_mfu,
            odds=COMMON,
        )


@cache
def hard_coded() -> tuple[dict[str, Any], ...]:
    """The peaks that frameworks divide by whatever the card is (``peaks.toml``)."""
    return tuple(tomllib.loads((files(__package__) / "peaks.toml").read_text(encoding="utf-8"))["peak"])


def _peaks(device: Device, dtype: str) -> Iterator[Mistake]:
    """What a framework may divide by instead of the device's dense peak."""
    peak = device.peak_flops_per_s(dtype) / 1e12

    def other(tflops: float, what: str, odds: float) -> Mistake:
        return Mistake(kind="peak", what=what, how=f"{peak:g}/{tflops:g}", factor=peak / tflops, odds=odds)

    for entry in hard_coded():
        who = " and ".join([", ".join(entry["software"][:-1]), entry["software"][-1]]).removeprefix(" and ")
        odds = COMMON if entry["tflops"] == 312 else RARE  # most tools fall back to the A100
        yield other(entry["tflops"], f"{entry['of']} peak in the denominator, as in {who}", odds)
    sparsity = device.family.sparsity
    if sparsity:
        yield other(sparsity * peak, f"the {sparsity:g}x sparse peak in the denominator", USUAL)
    for name in DTYPES:
        if name in device.peaks and name != dtype:
            yield other(device.peaks[name] / 1e12, f"the {name} peak in the denominator", RARE)
    for each in device.other_peaks:
        if each.engine.startswith("tensor"):
            yield other(each.tflops, f"the {each.dtype} peak with {each.accumulate} accumulate", USUAL)
    for card, tflops, odds in _cards(device, dtype):
        yield other(tflops, f"the peak of {card} in the denominator", odds)


def _cards(device: Device, dtype: str) -> Iterator[tuple[str, float, float]]:
    """The peak of every other device of the vendor and kind in a dtype, by id, and how likely it was taken for ours."""
    from ..hardware import all_devices

    for each in all_devices():
        if (each.vendor, each.kind) == (device.vendor, device.kind) and dtype in each.peaks and each.id != device.id:
            odds = LEAST if each.form_factor in ELSEWHERE and each.form_factor != device.form_factor else FAR
            yield each.id, each.peaks[dtype] / 1e12, odds


def _counts(device: Device, train: TrainConfig) -> Iterator[Mistake]:
    """What may be counted once too often, or left out, among passes, devices and ranks."""
    steps, devices, ranks = int(train.accumulation), int(train.num_devices), int(train.data_parallel)
    whole = int(train.devices_per_node or device.devices_per_node)
    node = min(whole, devices)
    numbers = {
        "the accumulation steps": (steps, COMMON),
        "the devices": (devices, COMMON),
        "the data-parallel ranks": (ranks if 1 < ranks < devices else 1, USUAL),
        "the devices of a node": (node if 1 < node < devices else 1, USUAL),
    }
    for what, (number, odds) in numbers.items():
        if number > 1:
            yield Mistake(kind="count", what=f"{what} left out", how=f"1/{number:,}", factor=1 / number, odds=odds)
            yield Mistake(kind="count", what=f"{what} counted twice", how=f"{number:,}", factor=number, odds=odds)
    if devices == 1 and whole > 1:
        what = f"a node of {whole:,} devices, not one"
        yield Mistake(kind="count", what=what, how=f"{whole:,}", factor=whole, odds=RARE)


# --- which of it explains --------------------------------------------------------------------------------


def explain_printed(printed: Printed, truth: float, possible: Iterable[Mistake]) -> tuple[Cause, ...]:
    """Ways from the run's MFU to the printed one, the likeliest first: alone, then, where few do, two together."""
    if printed.agrees(truth):
        same = f"it agrees with 6N+12LdS and the dense peak, as MFU is counted here ({format_share(truth)})"
        return (Cause(what=same, mfu=truth, mistakes=()),)
    singles = list(possible)
    alone = _ranked(printed, truth, ((one,) for one in singles))
    return alone if len(alone) >= ENOUGH else (*alone, *_ranked(printed, truth, _pairs(singles)))[:LISTED]


def _pairs(singles: Iterable[Mistake]) -> Iterator[tuple[Mistake, ...]]:
    frequent = [one for one in singles if one.odds >= RARE]
    return ((one, two) for one, two in combinations(frequent, 2) if one.kind != two.kind)


def _ranked(printed: Printed, truth: float, ways: Iterable[tuple[Mistake, ...]]) -> tuple[Cause, ...]:
    """The ways that come to the printed figure: by how usual they are and how near they come; equal ones once."""
    found: list[tuple[float, float, tuple[Mistake, ...]]] = []
    for way in ways:
        value = truth * math.prod(one.factor for one in way)
        if printed.agrees(value):
            odds = math.prod(one.odds for one in way)
            found.append((math.log(odds) - printed.off(value) ** 2 / 2, value, way))
    found.sort(key=lambda item: -item[0])
    causes: list[Cause] = []
    for _, value, way in found:
        if not any(abs(value / cause.mfu - 1) < SAME_FACTOR / 10 for cause in causes):
            causes.append(_cause(truth, value, way))
    return tuple(causes[:LISTED])


def _cause(truth: float, value: float, way: tuple[Mistake, ...]) -> Cause:
    words = " and ".join(one.what for one in way)
    arithmetic = " x ".join([format_share(truth), *(one.how for one in way)])
    return Cause(
        what=f"could be {words}: {arithmetic} = {format_share(value)}",
        mfu=value,
        mistakes=tuple(one.what for one in way),
    )


def explain_alone(printed: Printed, band: tuple[float, float], possible: Iterable[Mistake]) -> tuple[Cause, ...]:
    """What a printed MFU may really be, where nothing was measured: mistakes that bring it into the expected band."""
    singles = list(possible)
    alone = _plausible(printed, band, ((one,) for one in singles if one.odds > FAR))
    return alone or _plausible(printed, band, (*((one,) for one in singles), *_pairs(singles)))


def _plausible(printed: Printed, band: tuple[float, float], ways: Iterable[tuple[Mistake, ...]]) -> tuple[Cause, ...]:
    middle, width = math.sqrt(band[0] * band[1]), math.log(band[1] / band[0]) / 2
    open_ = printed.rounding / printed.value
    found = []
    for way in ways:
        real = printed.value / math.prod(one.factor for one in way)
        if band[0] * (1 - open_) <= real <= band[1] * (1 + open_):
            odds = math.prod(one.odds for one in way)
            found.append((math.log(odds) - (math.log(real / middle) / width) ** 2 / 2, real, way))
    found.sort(key=lambda item: -item[0])
    causes: list[Cause] = []
    for _, real, way in found:
        if not any(abs(real / cause.mfu - 1) < SAME_FACTOR for cause in causes):
            words = " and ".join(one.what for one in way)
            arithmetic = " / ".join([format_share(printed.value), *(f"({one.how})" for one in way)])
            what = f"could be {words}: {arithmetic} = {format_share(real)}"
            causes.append(Cause(what=what, mfu=real, mistakes=tuple(one.what for one in way)))
    return tuple(causes[:LISTED])
