"""How a framework may have come to the MFU it printed: rules, peaks and counts that differ, alone and by twos."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

import msgspec

from .. import arrays
from ..config.run import DTYPES, TrainConfig
from ..counting.mfu import attention_flops_per_token, matmul_weights, model_flops_per_token
from ..errors import RooflineError, shown
from ..model.parameters import count_parameters
from ..model.spec import ModelConfig
from ..reading import packaged, read_packaged
from ..units import format_share

if TYPE_CHECKING:
    from ..hardware import Device

AGREE = 0.03  # two figures of one run that differ by less are the same
EXACT = 0.01  # what counting a little otherwise changes: of causes that agree, nearer ones are likelier
FOUR_PASSES = 4 / 3  # over three: how logs count full recompute (llm-foundry, fms-fsdp), even where it ends early
SAME_FACTOR = 0.005  # mistakes that come to the same are one
LISTED = 5  # causes named
ALIKE = 2  # others that come to the same
FAINT = math.log(50)  # a cause that is so much less likely than the first is not named
MOST = 1000.0  # times the peak: beyond, it is no MFU
# How often each kind is met, over that of a rule of one's own: an assumption that orders causes, and prices none.
COMMON, USUAL, RARE, FAR, SELDOM, LEAST = 1.0, 0.6, 0.3, 0.1, 0.05, 0.01
SECOND = 0.1  # of a second mistake beside the first
MATTERS = 0.1  # logarithm of a factor that changes an MFU by enough to explain one
USUAL_RANGE = math.log(1.4)  # by which runs commonly differ from what is expected, where nothing was measured
BEST = 0.85  # MFU that no training has


class Printed(msgspec.Struct, frozen=True):
    """An MFU as a framework printed it, and what its rounding leaves open; both as fractions."""

    value: float
    rounding: float = 0.0

    @property
    def words(self) -> str:
        """The figure in percent, as exact as it was typed.

        >>> read_printed("88.32 %").words, read_printed(0.28).words, read_printed("200%").words
        ('88.32 %', '28 %', '200 %')
        """
        decimals = max(0, -math.floor(math.log10(100 * self.rounding) + 0.5)) if self.rounding else 1
        return f"{100 * self.value:.{decimals}f} %"

    def agrees(self, value: float) -> bool:
        """Whether this may be `value`: within 3 %, or within the rounding of what was typed."""
        return abs(value - self.value) <= max(AGREE * self.value, self.rounding)

    def off(self, value: float) -> float:
        """How far `value` is off, in units of what counting a little otherwise, or rounding, makes."""
        return abs(value - self.value) / max(EXACT * self.value, self.rounding)


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
        equals: Others, no less usual, that come to the same: the arithmetic cannot tell them apart.
    """

    what: str
    mfu: float
    mistakes: tuple[str, ...]
    equals: tuple[tuple[str, ...], ...] = ()


def read_printed(value: Any) -> Printed:
    """Read an MFU as frameworks print it: ``28.9 %``, ``28.9``, ``0.289``, ``200%``.

    A number above 2 is in percent. The last digit that is not a filling zero, of two at least, tells the rounding.

    >>> read_printed("28.9 %"), read_printed(0.28), read_printed("200%").rounding
    (Printed(value=0.289, rounding=0.001), Printed(value=0.28, rounding=0.01), 0.1)

    Raises:
        RooflineError: It is no positive number, or no MFU.
    """
    one = value if isinstance(value, str) else arrays.number(value)
    text = one if isinstance(one, str) else shown(value if one is None else one)
    digits = text.strip().removesuffix("%").strip()
    try:
        figure = float(digits)
    except ValueError:
        figure = math.nan
    in_percent = text.strip().endswith("%") or figure > 2
    fraction = figure / 100 if in_percent else figure
    if not (0 < fraction < MOST):
        raise RooflineError(f"reported_mfu: {text!r} is not an MFU: give what was printed, such as 28.9% or 0.289")
    return Printed(fraction, _last_digit(digits) / (100 if in_percent else 1))


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
    if parameters.total != parameters.active:
        counted["all parameters, those of every expert"] = parameters.total
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
    executed = {"HFU: recompute counted as well": hfu_over_mfu}
    if train.recompute == "full" and abs(hfu_over_mfu / FOUR_PASSES - 1) > SAME_FACTOR:
        executed["HFU: recompute counted as well, as a whole forward pass"] = FOUR_PASSES
    for what, factor in executed.items():
        if factor > 1 + SAME_FACTOR:
            yield Mistake(kind="rule", what=what, how=f"{factor:.3g}", factor=factor, odds=COMMON)


@cache
def hard_coded() -> tuple[dict[str, Any], ...]:
    """The peaks that frameworks divide by whatever the card is (``peaks.toml``)."""
    return tuple(read_packaged(packaged(__name__) / "peaks.toml", dict[str, list[dict[str, Any]]])["peak"])


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
            odds = SELDOM if name == "fp32" and "tf32" in device.peaks else RARE  # no training's matmuls run in it
            yield other(device.peaks[name] / 1e12, f"the {name} peak in the denominator", odds)
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
            odds = FAR if each.form_factor == device.form_factor else LEAST
            yield each.id, each.peaks[dtype] / 1e12, odds


def _counts(device: Device, train: TrainConfig) -> Iterator[Mistake]:
    """What may be counted once too often, or left out, among passes, devices and ranks; and padding."""
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
    if train.packing in {"padded", "unpadded"} and train.mean_len is not None:
        filled = float(train.sequence_length / train.sample_length)
        what = "padding counted as tokens"
        yield Mistake(kind="count", what=what, how=f"{filled:.3g}", factor=filled, odds=COMMON)
    if devices == 1 and whole > 1:
        what = f"a node of {whole:,} devices, not one"
        yield Mistake(kind="count", what=what, how=f"{whole:,}", factor=whole, odds=RARE)


# --- which of it explains --------------------------------------------------------------------------------

Way = tuple[Mistake, ...]


def explain_printed(printed: Printed, truth: float, possible: Iterable[Mistake]) -> tuple[Cause, ...]:
    """Ways from the run's MFU to the printed one, alone or two together, the likeliest first."""
    if printed.agrees(truth):
        same = f"agrees with 6N+12LdS and the dense peak, as MFU is counted here ({format_share(truth)})"
        return (Cause(what=same, mfu=truth, mistakes=()),)
    found = []
    for way in _ways(possible):
        value = truth * _factor(way)
        if printed.agrees(value):
            arithmetic = " x ".join([format_share(truth), *(one.how for one in way)])
            found.append((_odds(way) - printed.off(value) ** 2 / 2, value, arithmetic, way))
    return _likeliest(found)


def explain_alone(printed: Printed, band: tuple[float, float], possible: Iterable[Mistake]) -> tuple[Cause, ...]:
    """What a printed MFU may really be, where nothing was measured: mistakes that bring it near the expected band.

    How near a run of its kind comes is known no better than `USUAL_RANGE`; what hardly changes it explains nothing.
    """
    middle = math.sqrt(band[0] * band[1])
    width = max(math.log(band[1] / band[0]) / 2, USUAL_RANGE)
    most = 2 * width + printed.rounding / printed.value
    found = []
    for way in _ways(one for one in possible if abs(math.log(one.factor)) > MATTERS):
        real = printed.value / _factor(way)
        if abs(math.log(real / middle)) <= most and real <= BEST:
            arithmetic = " / ".join([printed.words, *(f"({one.how})" for one in way)])
            score = _odds(way) - (math.log(real / middle) / width) ** 2 / 2
            found.append((score, real, arithmetic, way))
    return _likeliest(found)


def _ways(possible: Iterable[Mistake]) -> Iterator[Way]:
    """Each mistake alone, then the frequent ones by twos of different kinds."""
    singles = list(possible)
    yield from ((one,) for one in singles)
    frequent = [one for one in singles if one.odds >= RARE]
    yield from ((one, two) for one, two in combinations(frequent, 2) if one.kind != two.kind)


def _factor(way: Way) -> float:
    return math.prod(one.factor for one in way)


def _odds(way: Way) -> float:
    """How likely a way is before any figure is seen, as a logarithm."""
    return math.log(SECOND ** (len(way) - 1) * math.prod(one.odds for one in way))


Found = tuple[float, float, str, Way]  # how likely, the MFU, its arithmetic, what it takes


def _cause(found: Found, others: list[Way]) -> Cause:
    """A way in words, with the others that come to the same."""
    _, value, arithmetic, way = found
    mistakes = tuple(one.what for one in way)
    equals = tuple(tuple(one.what for one in each) for each in others)
    same = "".join(f", or {' and '.join(each)}" for each in equals)
    words = f"could be {' and '.join(mistakes)}{same}: {arithmetic} = {format_share(value)}"
    return Cause(what=words, mfu=value, mistakes=mistakes, equals=equals)


def _alike(way: Way, other: Way) -> bool:
    """Whether a way is worth naming beside one that comes to the same: as long, usual, not of another rule alone."""
    beside, instead = ({one.what for one in each if one.kind != "rule"} for each in (way, other))
    return len(way) == len(other) and bool(beside - instead) and all(one.odds >= RARE for one in way)


def _likeliest(found: list[Found]) -> tuple[Cause, ...]:
    """The likeliest causes; those that come to the same as one, and of rules beside one other mistake the first."""
    kept: list[tuple[Found, list[Way]]] = []
    beside: set[str] = set()
    best = max((one[0] for one in found), default=0.0)
    for one in sorted((one for one in found if one[0] >= best - FAINT), key=lambda one: -one[0]):
        _, value, _, way = one
        twin = next((each for each in kept if abs(value / each[0][1] - 1) < SAME_FACTOR / 10), None)
        if twin is not None:
            if _alike(way, twin[0][3]) and len(twin[1]) < ALIKE:
                twin[1].append(way)
            continue
        others = {mistake.what for mistake in way if mistake.kind != "rule"} if len(way) > 1 else set()
        if not (len(others) == 1 and others <= beside):
            kept.append((one, []))
            beside |= others if len(others) == 1 else set()
    return tuple(_cause(one, others) for one, others in kept[:LISTED])
