"""A training log as a series: the step's number and its time or tokens per second, whatever framework wrote it."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from ..errors import RooflineError
from ..reading import opened, packaged, read_packaged
from ..units import format_number

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LEAST = 3  # steps from which a series says something
LARGEST = 200_000_000  # bytes: a log of a line a step for a million steps; it is read as a whole
_DIGITS = 18  # of the number of a step
_PROBED = 20_000  # lines read to find out which framework wrote a log


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a log.

    Attributes:
        step: The optimizer step.
        step_time_s: Of this step, or the mean since the line before.
        tokens_per_s: Of all devices.
        tokens_per_s_per_device: Of one device.
        global_batch: Sequences in the step.
        mfu: As the framework printed it, as a share.
    """

    step: int
    step_time_s: float | None = None
    tokens_per_s: float | None = None
    tokens_per_s_per_device: float | None = None
    global_batch: int | None = None
    mfu: float | None = None

    @property
    def speed(self) -> float | None:
        """What tells steps apart: seconds of a step, or of a token where only a rate is logged."""
        if self.step_time_s:
            return self.step_time_s
        rate = self.tokens_per_s or self.tokens_per_s_per_device
        return 1 / rate if rate else None


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """A whole log: which framework wrote it, and its lines in order of steps."""

    path: str
    framework: str
    entries: tuple[Entry, ...]


def read_log(path: str | Path) -> Log:
    """Read a log: printed lines, ``trainer_state.json``, JSON lines, or CSV of wandb or TensorBoard.

    Raises:
        RooflineError: It cannot be read, is larger than `LARGEST`, no line says how long a step took, or a table holds
            several runs.
    """
    path = Path(path)
    try:
        with opened(path) as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise RooflineError(f"cannot read log {path}: {error.strerror or error}") from error
    if len(content) > LARGEST:
        raise RooflineError(
            f"{path}: more than {LARGEST / 1e6:g} MB: keep the lines that say how long a step took "
            "(grep 'elapsed time' LOG > steps.log, or the words of your framework)"
        )
    text = content.decode("utf-8-sig", errors="replace")
    try:
        found = _records(text) or _table(text) or _lines(text)
    except RooflineError as error:
        raise RooflineError(f"{path}: {error}") from error
    if found is None:
        titles = ", ".join(each["title"] for key, each in _patterns().items() if key != "columns")
        raise RooflineError(
            f"{path}: no line says how long a step took (read are: {titles}; trainer_state.json of Hugging Face, JSON "
            "lines, and CSV of wandb or TensorBoard)"
        )
    framework, entries = found
    kept = _last_run(_timed(entries))
    if len(kept) < _LEAST and framework != _STATE:
        timed = format_number(len(kept), "step")
        raise RooflineError(f"{path}: {timed} with a time, at least {_LEAST} are needed to judge a run")
    if not kept:
        raise RooflineError(f"{path}: no step time: log 'train_steps_per_second' (it is written when training ends)")
    return Log(path=str(path), framework=framework, entries=tuple(kept))


@lru_cache(maxsize=1)
def _patterns() -> dict[str, Any]:
    return read_packaged(packaged(__name__) / "logs.toml", dict[str, Any])


def _last_run(entries: list[Entry]) -> list[Entry]:
    """The entries of the last start: a log that goes on after a restart repeats steps."""
    start = 0
    for place in range(1, len(entries)):
        if entries[place].step < entries[place - 1].step:
            start = place
    return entries[start:]


def _timed(entries: Sequence[Entry]) -> list[Entry]:
    return [entry for entry in entries if entry.speed is not None]


# --- printed lines ---------------------------------------------------------------------------------------


def _lines(text: str) -> tuple[str, list[Entry]] | None:
    """The framework whose pattern fits most often near the start, and what it says."""
    lines = [_COLOUR.sub("", line) for line in re.split(r"[\r\n]+", text)]
    for key, framework in _patterns().items():
        if key == "columns":
            continue
        pattern = re.compile(framework["pattern"])
        if any(pattern.search(line) for line in lines[:_PROBED]):
            matches = (match for line in lines if (match := pattern.search(line)))
            return framework["title"], _from_matches(match.groupdict() for match in matches)
    return None


def _from_matches(matches: Iterator[dict[str, str | None]]) -> list[Entry]:
    """Entries from named groups; times since the start become times between lines."""
    entries: list[Entry] = []
    before: tuple[int, float] | None = None
    for step, found in _by_step(matches):
        time = _step_time(found)
        elapsed = _elapsed(found)
        if elapsed is not None:
            if before is not None and step > before[0] and elapsed > before[1]:
                time = (elapsed - before[1]) / (step - before[0])
            if before is None or elapsed > before[1] or step < before[0]:
                before = step, elapsed
        batch = _number(found.get("global_batch"))
        mfu = _number(found.get("mfu"))
        entries.append(
            Entry(
                step=step,
                step_time_s=time,
                tokens_per_s=_number(found.get("tokens_per_s")),
                tokens_per_s_per_device=_number(found.get("tokens_per_s_per_device")),
                global_batch=None if batch is None else int(batch),
                mfu=None if mfu is None or mfu <= 0 else mfu / 100,
            )
        )
    return entries


def _by_step(matches: Iterator[dict[str, str | None]]) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Lines by step; passes of one step (gradient accumulation) add up, repeated lines (other ranks) count once."""
    for step, group in itertools.groupby(matches, key=lambda found: int((found["step"] or "0")[:_DIGITS])):
        lines = list(group)
        found = lines[-1]
        if found.get("iteration_ms"):
            passes = {line["iteration"]: float(line["iteration_ms"] or 0) for line in lines}
            found = {**found, "ms": str(sum(passes.values()))}
        yield step, found


def _step_time(found: Mapping[str, str | None]) -> float | None:
    milliseconds, seconds = _number(found.get("ms")), _number(found.get("s"))
    if milliseconds is not None:
        return milliseconds / 1e3
    rate = _number(found.get("updates_per_s"))
    return 1 / rate if rate else seconds


def _elapsed(found: Mapping[str, str | None]) -> float | None:
    """Seconds since the start."""
    milliseconds = _number(found.get("elapsed_ms"))
    if milliseconds is not None:
        return milliseconds / 1e3
    text = found.get("elapsed")
    if not text:
        return None
    seconds = 0.0
    for part in text.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def _number(text: Any) -> float | None:
    """A finite number as logs write it: with thousands separators, or not at all."""
    try:
        value = float(str(text).replace(",", "").strip())
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


# --- JSON --------------------------------------------------------------------------------------------------

_STATE = "Hugging Face Trainer"


def _records(text: str) -> tuple[str, list[Entry]] | None:
    """``trainer_state.json``, or a record a line."""
    start = text.lstrip()[:1]
    if start not in {"{", "["}:
        return None
    try:
        whole = msgspec.json.decode(text)
    except msgspec.DecodeError:
        records = [found for line in text.splitlines() if isinstance(found := _decoded(line), dict)]
        return ("JSON lines", _from_rows(records)) if records else None
    if isinstance(whole, dict) and isinstance(whole.get("log_history"), list):
        return _STATE, _from_trainer(whole["log_history"])
    records = whole if isinstance(whole, list) else [whole]
    return "JSON", _from_rows([each for each in records if isinstance(each, dict)])


def _decoded(line: str) -> Any:
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None


def _from_trainer(history: list[Any]) -> list[Entry]:
    """Entries with a time of their own; else the mean that the last one gives over the whole run."""
    records = [each for each in history if isinstance(each, dict)]
    entries = _timed(_from_rows(records))
    rates = [rate for each in records if (rate := _number(each.get("train_steps_per_second")))]
    if len(entries) >= _LEAST or not rates:
        return entries
    return [Entry(step=int(_number(records[-1].get("step")) or 0), step_time_s=1 / rates[-1])]


# --- tables ------------------------------------------------------------------------------------------------


def _table(text: str) -> tuple[str, list[Entry]] | None:
    """CSV of wandb (history or a chart) or of TensorBoard (wall time, step, value)."""
    lines = text.splitlines()
    if not lines or not re.search(r"step|iteration", lines[0], re.IGNORECASE):
        return None
    between = max(",;\t", key=lines[0].count)
    rows: list[dict[str, Any]] = list(csv.DictReader(lines, delimiter=between))
    if not rows or len(rows[0]) < 2:
        return None
    names = {name.strip().lower() for name in rows[0] if name}
    entries = _from_rows(rows)
    return ("TensorBoard" if "wall time" in names else "wandb", entries) if entries else None


def _from_rows(rows: Sequence[Mapping[str, Any]]) -> list[Entry]:
    """Entries from the columns whose names say what they are; else from the time between rows."""
    columns = _columns(list(dict.fromkeys(key for row in rows for key in row if key)))
    if "step" not in columns:
        return []
    measured = next((kind for kind in ("s", "ms", "tokens_per_s", "tokens_per_s_per_device") if kind in columns), None)
    entries = []
    before: tuple[int, float] | None = None
    for row in rows:
        step = _number(row.get(columns["step"]))
        if step is None:
            continue
        value = None if measured is None else _number(row.get(columns[measured]))
        time = value if measured == "s" else value / 1e3 if measured == "ms" and value is not None else None
        clock = _number(row.get(columns.get("clock", "")))
        if measured is None and clock is not None:
            if before is not None and step > before[0]:
                time = (clock - before[1]) / (step - before[0])
            before = int(step), clock
        if value is None and time is None:
            continue
        mfu = _number(row.get(columns.get("mfu", "")))
        entries.append(
            Entry(
                step=int(step),
                step_time_s=time,
                tokens_per_s=value if measured == "tokens_per_s" else None,
                tokens_per_s_per_device=value if measured == "tokens_per_s_per_device" else None,
                mfu=None if mfu is None else mfu / 100 if mfu > 1 else mfu,
            )
        )
    return entries


def _columns(names: Sequence[str]) -> dict[str, str]:
    """Kind -> name of the column whose name says so, the most telling word first, and of these the first column.

    ``run - metric`` of a wandb chart counts as ``metric``.

    Raises:
        RooflineError: A chart holds several runs.
    """
    bare = {name: name.strip().lower().rpartition(" - ")[2] for name in names}
    bare = {name: word for name, word in bare.items() if not word.endswith(("__min", "__max"))}
    found: dict[str, str] = {}
    for kind, patterns in _patterns()["columns"].items():
        for pattern in patterns:
            told = [n for n, word in bare.items() if re.fullmatch(pattern, word) or _last_word(pattern, word)]
            runs = [name.rpartition(" - ")[0] for name in told if " - " in name and bare[name] == bare[told[0]]]
            if len(runs) > 1:
                raise RooflineError(f"several runs in one table ({', '.join(runs[:4])}): export the one to judge")
            if told:
                found[kind] = told[0]
                break
    return found


def _last_word(pattern: str, word: str) -> bool:
    """Whether the word behind a column's folders says it."""
    return re.fullmatch(pattern, word.rpartition("/")[2]) is not None
