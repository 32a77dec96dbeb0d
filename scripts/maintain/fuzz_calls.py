"""Call every exported function with arguments of the wrong type: an answer comes out, or a RooflineError.

python scripts/maintain/fuzz_calls.py        every parameter of every function with every wrong value; a line per fault
"""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import decimal
import fractions
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import roofline

MODEL, DEVICE = "gpt2", "h100-sxm-80gb"
LONGEST_S = 5  # of processor time for one call: a busy machine makes none look endless


class Call(NamedTuple):
    """An exported function, arguments it takes, and its other parameters that may be given."""

    function: Callable[..., Any]
    good: dict[str, Any]
    others: tuple[str, ...] = ()


FIELDS = roofline.TrainConfig.__struct_fields__


def charged(**terms: Any) -> roofline.Plan:
    """A plan of one layout with these terms."""
    one = roofline.Terms(**terms)
    return roofline.plan(
        MODEL,
        DEVICE,
        tokens=10**9,
        num_devices=1,
        micro_batch=1,
        global_batch=8,
        recompute="none",
        sharding="none",
        terms=one,
    )


CALLS: dict[str, Call] = {
    "estimate": Call(roofline.estimate, {"model": MODEL, "device": DEVICE, "micro_batch": 1}, FIELDS),
    "memory": Call(roofline.memory, {"model": MODEL, "device": DEVICE, "micro_batch": 1}, FIELDS),
    "count": Call(roofline.count, {"model": MODEL, "micro_batch": 1}, FIELDS),
    "compare": Call(roofline.compare, {"models": MODEL, "devices": DEVICE, "micro_batch": 1}, FIELDS),
    "sweep": Call(
        roofline.sweep,
        {"models": MODEL, "devices": DEVICE, "record": "/nowhere/all.csv", "micro_batch": 1},
        ("executor", "progress", *FIELDS),
    ),
    "mfu": Call(
        roofline.mfu,
        {"model": MODEL, "device": DEVICE, "step_time_s": 1.0, "micro_batch": 1},
        ("tokens_per_s", "reported_mfu", *FIELDS),
    ),
    "infer": Call(
        roofline.infer,
        {"model": MODEL, "device": DEVICE, "phase": "decode", "micro_batch": 1, "seq_len": 128},
        ("dtype", "tp", "attention", "stack", "network_gbit_per_s", "devices_per_node", "num_devices"),
    ),
    "layouts": Call(
        roofline.layouts,
        {
            "model": MODEL,
            "device": DEVICE,
            "num_devices": 2,
            "global_batch": 8,
            "micro_batch": 1,
            "recompute": "none",
            "sharding": "none",
            "tp": 1,
            "pp": 1,
            "objective": "time",
            "top": 1,
        },
        ("across_nodes", "front", "tolerance", "price", "progress", "executor", "record", *FIELDS),
    ),
    "plan": Call(
        roofline.plan,
        {
            "model": MODEL,
            "device": DEVICE,
            "tokens": "1B",
            "num_devices": 2,
            "global_batch": 8,
            "micro_batch": 1,
            "recompute": "none",
            "sharding": "none",
            "tp": 1,
            "pp": 1,
        },
        ("law", "deadline_s", "budget", "terms", "doubling", *FIELDS),
    ),
    "ladder": Call(
        roofline.ladder,
        {"device": DEVICE, "flops": "1e20", "num_devices": 2, "global_batch": 8, "recompute": "none"},
        ("law", "deadline_s", "budget", "confidence", "terms", "seq_len", "stack"),
    ),
    "accounting": Call(
        roofline.accounting,
        {"n_layers": 2, "d_model": 64, "n_heads": 4, "d_ff": 256, "vocab_size": 100, "seq_len": 16, "micro_batch": 1},
        ("model",),
    ),
    "load_model": Call(roofline.load_model, {"spec": MODEL}, ("overrides",)),
    "load_device": Call(roofline.load_device, {"spec": DEVICE}),
    "validate_runs": Call(roofline.validate_runs, {"path": "/nowhere.csv"}),
    "trace": Call(roofline.trace, {"module": None}, ("loss", "dtype", "real", "keyword_inputs")),
    "StepTimer": Call(
        roofline.StepTimer,
        {"model": MODEL, "device": DEVICE, "seq_len": 128, "global_batch": 8},
        ("tokens_per_step", "num_devices", "dtype", "warmup", "total_steps", "every", "window", "write", "clock"),
    ),
    "settle": Call(roofline.settle, {"model": MODEL, "device": DEVICE, "micro_batch": 1}, FIELDS),
    "diagnose": Call(
        roofline.diagnose, {"model": MODEL, "device": DEVICE, "tokens_per_s": 1e4, "micro_batch": 1}, ("tflops",)
    ),
    "override": Call(
        roofline.override,
        {"device": roofline.load_device(DEVICE)},
        tuple(inspect.signature(roofline.override).parameters)[1:],
    ),
    "devices": Call(roofline.devices, {}, ("vendor", "kind")),
    "detect": Call(roofline.detect, {"replay": "/nowhere.json"}),
    "read_run": Call(
        roofline.read_run, {"path": "/nowhere.yaml"}, ("more", "given", "model", "overrides", "framework")
    ),
    "source_of": Call(roofline.load_device(DEVICE).source_of, {"figure": "bf16"}),
    "Terms": Call(charged, {}, roofline.Terms.__struct_fields__),
    "model_ids": Call(roofline.model_ids, {}),
    "device_ids": Call(roofline.device_ids, {}),
}


class Odd:
    """An object of no meaning here."""


WRONG: dict[str, Any] = {
    "None": None,
    "True": True,
    "-1": -1,
    "0": 0,
    "2.5": 2.5,
    "nan": float("nan"),
    "inf": float("inf"),
    "10**40": 10**40,
    "10**5000": 10**5000,
    "text": "eight",
    "empty text": "",
    "null byte": "a\0b",
    "null byte in a path": "a\0b.csv",
    "long path": "a" * 300 + ".csv",
    "surrogate": "\udc80",
    "long text": "9" * 5000,
    "exponent": "1e99999",
    "lines": "a\nb",
    "bytes": b"8",
    "bytearray": bytearray(b"8"),
    "complex": 1 + 2j,
    "list": [],
    "list of text": ["a", "b"],
    "list of None": [None, 1],
    "nested list": [[1, 2], [3]],
    "tuple": (1, 2),
    "set": {1, 2},
    "dict": {"a": 1},
    "range": range(1, 3),
    "generator": None,
    "object": Odd(),
    "class": Odd,
    "function": len,
    "module": sys,
    "Decimal": decimal.Decimal(2),
    "Fraction": fractions.Fraction(3, 2),
    "date": dt.date(2024, 1, 1),
    "timedelta": dt.timedelta(days=1),
    "np.bool": np.bool_(True),
    "np.complex": np.complex128(1j),
    "np.datetime": np.datetime64("2024-01-01"),
    "np.str": np.str_("eight"),
    "array of int8": np.array([1, 2], dtype=np.int8),
    "array of bool": np.array([True, False]),
    "array of complex": np.array([1j, 2]),
    "array of object": np.array([1, None], dtype=object),
    "array of text": np.array(["a", "b"]),
    "array of nan": np.array([1.0, np.nan]),
    "array of dates": np.array(["2024-01-01"], dtype="datetime64[D]"),
    "masked array": np.ma.masked_array([1, 2], mask=[False, True]),
    "empty array": np.array([]),
    "three by two": np.ones((3, 2)),
    "structured": np.zeros(2, dtype=[("a", int), ("b", float)]),
    "Series": pd.Series([1, 2]),
    "Series of text": pd.Series(["a", "b"]),
    "Series with NA": pd.Series([1, None], dtype="Int64"),
    "frame": pd.DataFrame({"a": [1, 2]}),
    "timestamp": pd.Timestamp("2024-01-01"),
}


class Fault(NamedTuple):
    """A call that ended in something else than an answer or a RooflineError."""

    call: str
    parameter: str
    value: str
    error: str
    place: str


def attempts(calls: dict[str, Call] | None = None) -> Iterator[tuple[str, str, str, Callable[[], Any]]]:
    """Every call to try: function, parameter, value in words, and the call itself."""
    for name, call in (calls or CALLS).items():
        for parameter in dict.fromkeys((*call.good, *call.others)):
            for words, value in WRONG.items():
                if (name, words) in {("validate_runs", "None"), ("detect", "None")}:
                    continue  # the packaged table, this machine
                given = (each for each in (1, 2)) if words == "generator" else value
                arguments = {**call.good, parameter: given}
                yield name, parameter, words, lambda f=call.function, a=arguments: f(**a)  # type: ignore[misc]
        if name != "Terms":  # a struct refuses what it has not, as Python does
            for unknown in ("micro_bach", "nonsense", "step_tim"):
                yield name, unknown, "unknown", lambda f=call.function, a={**call.good, unknown: 1}: f(**a)  # type: ignore[misc]


def tried(call: Callable[[], Any]) -> BaseException | None:
    """What a call raises other than a RooflineError of one line, within a time; None where that is nothing."""
    import signal
    import warnings

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt(f"longer than {LONGEST_S} s")

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LONGEST_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            repr(call())
    except roofline.RooflineError as error:
        return None if str(error) and "\n" not in str(error) else error
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  (that is what is looked for)
        return error
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def faults(calls: dict[str, Call] | None = None) -> tuple[int, list[Fault]]:
    """How many calls were made, and those that failed."""
    found, number = [], 0
    for name, parameter, words, call in attempts(calls):
        number += 1
        error = tried(call)
        if error is not None:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{frame.filename.rpartition('/roofline/')[2]}:{frame.lineno}"
            found.append(Fault(name, parameter, words, f"{type(error).__name__}: {str(error)[:80]!r}", place))
    return number, found


def main() -> None:
    """Print every fault, and the counts."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    number, found = faults()
    for fault in found:
        sys.stdout.write(f"{fault.call}({fault.parameter}={fault.value}): {fault.error} at {fault.place}\n")
    places = collections.Counter(fault.place for fault in found)
    sys.stdout.write(f"{number:,} calls, {len(found):,} faults from {len(places)} places\n")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
