"""Reads what ``nsys export --type sqlite`` writes, as the events of a trace.

Operators and shapes are there where ``torch.autograd.profiler.emit_nvtx(record_shapes=True)``, or nsys'
``--pytorch=autograd-shapes-nvtx``, wrote them into the text of NVTX ranges: ``aten::mm, seq = 12, op_id = 30,
sizes = [[8944, 1024], [1024, 2816]]``. The format is NVIDIA's: Nsight Systems, "SQLite Export Schema Reference".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import RooflineError
from .stream import Args, Event

if TYPE_CHECKING:
    import sqlite3

_MAGIC = b"SQLite format 3\0"
_BATCH = 10_000
_NS = 1e-3  # microseconds
_RANGE_TYPES = "59, 60"  # NVTX push/pop, and start/end
_TEXT = re.compile(
    r"(?P<name>.*?)(?:, seq = (?P<seq>\d{1,18}))?(?:, op_id = (?P<op>\d{1,18}))?(?:, sizes = (?P<sizes>\[.*\]))?"
    r"(?:, input_op_ids = .*)?",
    re.DOTALL,
)
_TEXTS = {"text", "name"}  # columns of text; the others hold whole numbers
_REQUIRED = {"start", "end"}
_SQL = {str: "text", int: "integers", float: "fractions", bytes: "bytes", type(None): "nothing"}
_LONGEST = 10_000_000  # bytes of a text, a row or a query
# kind of activity -> category, the column that names it (None: its own word), and whether it says bytes
_ACTIVITIES = {
    "KERNEL": ("kernel", "demangledName", False),
    "MEMCPY": ("gpu_memcpy", None, True),
    "MEMSET": ("gpu_memset", None, True),
    "GRAPH_TRACE": ("kernel", None, False),
}
_WORDS = {"MEMCPY": "Memcpy", "MEMSET": "Memset", "GRAPH_TRACE": "CUDA graph, a whole launch"}


def is_export(path: Path) -> bool:
    """Whether it is a file, and an SQLite database.

    Raises:
        RooflineError: It is nsys' own report, which is to be exported first.
    """
    if path.suffix in {".nsys-rep", ".qdrep"}:
        raise RooflineError(f"{path} is a report of nsys: export it with 'nsys export --type sqlite {path.name}'")
    try:
        if not path.is_file():  # what a pipe holds can be read once
            return False
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise RooflineError(f"cannot read trace {path}: {error.strerror or error}") from error


def read_export(path: Path, take: Callable[[list[Event]], None]) -> dict[str, Any]:
    """Hand every event of an export to `take`, a batch at a time; returns what it says of the devices.

    Raises:
        RooflineError: It is damaged, or no export of nsys.
    """
    import sqlite3

    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            database.execute("PRAGMA trusted_schema = OFF")
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
            database.text_factory = lambda text: text.decode("utf-8", "replace")
            return _Export(path, database).read(take)
        finally:
            database.close()
    except sqlite3.Error as error:
        raise RooflineError(f"{path} is damaged or no export of nsys ({error}); export it again") from error


class _Export:
    """One database, and the processes that wrote it."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path, self.database = path, database
        listed = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        self.columns: dict[str, set[str]] = {
            str(table): {row[1] for row in database.execute(f'PRAGMA table_info("{table}")')} for (table,) in listed
        }
        if "StringIds" not in self.columns:
            some = ", ".join(sorted(self.columns)[:4]) or "nothing"
            raise RooflineError(f"{path} is no export of nsys: it has no table StringIds (it has {some})")
        self.processes: dict[int, int] = {}

    def read(self, take: Callable[[list[Event]], None]) -> dict[str, Any]:
        shaped = False
        for batch in self.ranges():
            shaped = shaped or any(event.args is not None and bytes(event.args.dims) for event in batch)
            take(batch)
        for batch in self.calls():
            take(batch)
        for kind in _ACTIVITIES:
            for batch in self.activities(kind):
                take(batch)
        return {"deviceProperties": self.devices(), "record_shapes": int(shaped), "writer": "nsys"}

    def rows(self, table: str, wanted: dict[str, str], name: str | None = None, where: str = "") -> Iterator[list[Any]]:
        """Batches of the columns in `wanted`, then the text that column `name` numbers.

        `wanted` is column -> the value in its place where the table lacks it.
        """
        known = self.columns.get(table)
        if known is None:  # a kind of activity that did not happen has no table
            return
        picked = [f't."{column}"' if column in known else instead for column, instead in wanted.items()]
        named = name is not None and name in known
        join = f"LEFT JOIN StringIds s ON s.id = t.{name}" if named else ""
        picked.append("s.value" if named else "NULL")
        query = f"SELECT {', '.join(picked)} FROM {table} t {join} {where}"  # noqa: S608  (all words are of this file)
        cursor = self.database.execute(query)
        while rows := cursor.fetchmany(_BATCH):
            for place, column in enumerate((*wanted, "value")):
                self.check(table, column, {type(row[place]) for row in rows})
            yield rows

    def check(self, table: str, column: str, found: set[type]) -> None:
        """Refuse a column that holds what it should not: SQLite lets any value into any column."""
        allowed = {str if column in _TEXTS | {"value"} else int} | (set() if column in _REQUIRED else {type(None)})
        if wrong := found - allowed:
            kinds = ", ".join(sorted(_SQL[kind] for kind in wrong))
            raise RooflineError(f"{self.path}: {table}.{column} holds {kinds}: no export of nsys does; export it again")

    def ranges(self) -> Iterator[list[Event]]:
        """NVTX ranges: operators with their shapes, and annotations."""
        wanted = {"start": "0", "end": "0", "globalTid": "0", "text": "NULL"}
        ended = f'WHERE t.eventType IN ({_RANGE_TYPES}) AND t."end" IS NOT NULL'
        for rows in self.rows("NVTX_EVENTS", wanted, "textId", ended):
            yield [_range(start, end, thread, text or value or "") for start, end, thread, text, value in rows]

    def calls(self) -> Iterator[list[Event]]:
        """Calls of CUDA."""
        wanted = {"start": "0", "end": "0", "globalTid": "0", "correlationId": "0"}
        for rows in self.rows("CUPTI_ACTIVITY_KIND_RUNTIME", wanted, "nameId"):
            yield [
                _event(
                    "cuda_runtime", name or "", start, end, thread, Args(correlation=self.number(thread, correlation))
                )
                for start, end, thread, correlation, name in rows
            ]

    def activities(self, kind: str) -> Iterator[list[Event]]:
        """Kernels, copies, fills, or whole graphs."""
        category, name, moves = _ACTIVITIES[kind]
        wanted = {"start": "0", "end": "0", "deviceId": "0", "streamId": "0", "correlationId": "0", "globalPid": "0"}
        for rows in self.rows(f"CUPTI_ACTIVITY_KIND_{kind}", wanted | {"bytes": "0"}, name):
            batch = []
            for start, end, device, stream, correlation, process, moved, text in rows:
                args = Args(
                    device=device,
                    stream=stream,
                    correlation=self.number(process, correlation),
                    bytes=moved if moves else None,
                )
                batch.append(_event(category, text or _WORDS.get(kind, "unnamed kernel"), start, end, stream, args))
            yield batch

    def number(self, thread: int, correlation: int) -> int:
        """A number of a launch that no other process has: `thread` holds the process in all but its lowest 24 bits."""
        process = self.processes.setdefault(int(thread or 0) >> 24, len(self.processes))
        return (process << 40) + int(correlation or 0)

    def devices(self) -> list[dict[str, Any]]:
        """The GPUs, with the keys that torch.profiler uses."""
        wanted = {"id": "0", "name": "''", "smCount": "NULL", "totalMemory": "NULL", "cuDevice": "NULL"}
        return [
            {"id": key if cuda is None else cuda, "name": name, "numSms": units, "totalGlobalMem": memory}
            for rows in self.rows("TARGET_INFO_GPU", wanted)
            for key, name, units, memory, cuda, _ in rows
        ]


def _range(start: int, end: int, thread: int, text: str) -> Event:
    match = _TEXT.fullmatch(text)
    if match is None or (match["seq"] or match["op"] or match["sizes"]) is None:
        return _event("cpu_op" if text.startswith("aten::") else "user_annotation", text, start, end, thread, Args())
    args = Args(
        external_id=int(match["op"] or 0),
        sequence=None if match["seq"] is None else int(match["seq"]),
        dims=msgspec.Raw((match["sizes"] or "").encode()),
    )
    return _event("cpu_op", match["name"], start, end, thread, args)


def _event(category: str, name: str, start: int, end: int, thread: int, args: Args) -> Event:
    return Event(ph="X", cat=category, name=name, pid=0, tid=thread, ts=start * _NS, dur=(end - start) * _NS, args=args)
