"""Files of other programs as fuzz.py damages them: exports of nsys, traces, logs and run files."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
from pathlib import Path
from typing import Any

RUNS = Path(__file__).resolve().parents[2] / "docs" / "examples" / "runs"


NSYS = """
CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE TARGET_INFO_GPU (id INT, name TEXT, smCount INT, totalMemory INT, cuDevice INT);
CREATE TABLE NVTX_EVENTS (start INT, end INT, eventType INT, text TEXT, textId INT, globalTid INT);
CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, end INT, globalTid INT, correlationId INT, nameId INT);
CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, deviceId INT, streamId INT, correlationId INT,
    globalPid INT, demangledName INT);
CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, deviceId INT, streamId INT, correlationId INT,
    globalPid INT, bytes INT);
INSERT INTO StringIds VALUES (1, 'nvjet_tst_128x256_forward'), (2, 'cudaLaunchKernel'), (3, 'ncclDevKernel');
INSERT INTO TARGET_INFO_GPU VALUES (0, 'NVIDIA H100 80GB HBM3', 132, 85018279936, 0);
INSERT INTO NVTX_EVENTS VALUES (0, 1000000, 59, 'ProfilerStep#1', NULL, 1), (1000000, 2000000, 59, 'ProfilerStep#2',
    NULL, 1), (100, 20000, 59, 'aten::mm, seq = 1, op_id = 2, sizes = [[4096, 1024], [1024, 2048]]', NULL, 1);
INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (200, 900, 1, 7, 2), (1000200, 1000900, 1, 8, 2);
INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (2000, 90000, 0, 7, 7, 1, 1), (1002000, 1900000, 0, 7, 8, 1, 3);
INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (95000, 99000, 0, 7, 9, 1, 4096);
"""  # two steps as nsys exports them
ODD_CELLS = (
    "NULL", "'x'", "''", "x'00ff'", "-1", "0", "9223372036854775807", "-9223372036854775808", "9e999", "-9e999", "0.5",
    "'[[[[[[['", "'aten::mm, seq = 1, op_id = 2, sizes = [[-1, 1e9], \"x\"]'",
    "'aten::mm, op_id = ' || hex(zeroblob(9))",
    "'aten::mm, seq = ' || replace(hex(zeroblob(5000)), '0', '9')", "zeroblob(20000000)", "char(27) || '[2J'",
    "'sizes = ' || replace(hex(zeroblob(50000)), '0', '[')",
)  # fmt: skip


def database(draw: random.Random) -> list[str]:
    """An export of nsys with cells changed, tables dropped, renamed or made views, and bytes flipped."""
    path = Path("x.sqlite")
    path.unlink(missing_ok=True)
    base = sqlite3.connect(path)
    base.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF;" + NSYS)
    for _ in range(draw.randint(1, 4)):
        tables = [name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        table = draw.choice(tables)
        columns = [row[1] for row in base.execute(f'PRAGMA table_info("{table}")')]
        column = draw.choice(columns)
        with contextlib.suppress(sqlite3.Error):  # a NOT NULL, the last column
            match draw.randrange(8):
                case 0:
                    base.execute(f'DROP TABLE "{table}"')
                case 1:
                    base.execute(f'ALTER TABLE "{table}" DROP COLUMN "{column}"')
                case 2:
                    base.execute(f'ALTER TABLE "{table}" RENAME TO "{draw.choice(["x", "a b", "é"])}"')
                case 3:
                    base.execute(f'CREATE TABLE y AS SELECT * FROM "{table}"')  # noqa: S608
                    base.execute(f'DROP TABLE "{table}"')
                    base.execute(f'CREATE VIEW "{table}" AS SELECT y.* FROM y, y, y')  # noqa: S608
                case 4:
                    base.execute(f'DELETE FROM "{table}"')  # noqa: S608
                case _:
                    base.execute(f'UPDATE "{table}" SET "{column}" = {draw.choice(ODD_CELLS)}')  # noqa: S608
    base.commit()
    base.close()
    if draw.random() < 0.2:
        content = bytearray(path.read_bytes())
        for _ in range(draw.randint(1, 30)):
            content[draw.randrange(100, len(content))] = draw.randrange(256)
        path.write_bytes(content[: draw.choice([len(content), len(content) // 2, 5000])])
    return draw.choice([["profile", "x.sqlite"], ["profile", "x.sqlite", "--model", "gpt2", "--format", "json"]])


ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 10**30, 1e308, -1e308, float("nan"), float("inf"), "", "x", "7", "\x1b[2J", "9" * 5000, [],
    [[]], [[4096, 1024], [1024]], [-1], {}, {"a": 1}, [None], "[[1, 2], [2, 3]]", "c10::BFloat16", "ProfilerStep#9",
)  # fmt: skip


def _damaged(draw: random.Random, text: str) -> bytes:
    """The text, one time in five with bytes changed or its end cut off."""
    content = bytearray(text.encode("utf-8", "surrogatepass"))
    if content and draw.random() < 0.2:
        for _ in range(draw.randint(1, 10)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        content = content[: draw.choice([len(content), len(content), draw.randrange(len(content))])]
    return bytes(content)


def _changed(draw: random.Random, value: Any) -> Any:
    """A value of JSON with one place in it changed, dropped or doubled."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(list(value))
        if draw.random() < 0.1:
            return {name: held for name, held in value.items() if name != key}
        return {**value, key: _changed(draw, value[key])}
    if isinstance(value, list) and value and draw.random() < 0.9:
        place = draw.randrange(len(value))
        if draw.random() < 0.1:
            return value[:place] + value[place + draw.randrange(2) :] + value[place:]
        return [*value[:place], _changed(draw, value[place]), *value[place + 1 :]]
    return draw.choice(ODD_VALUES)


def _events() -> list[dict[str, Any]]:
    """Two steps of a matmul and an all-reduce, as PyTorch's profiler writes them; times in microseconds."""
    events = []
    for step in range(2):
        at, call = 1000.0 * step, 10 * step
        dims = {"Input Dims": [[4096, 1024], [1024, 2048]], "Input type": ["c10::BFloat16"] * 2}
        group = {"Collective name": "allreduce", "In msg nelems": 4096, "dtype": "BFloat16", "Group size": 8}
        for category, name, start, time, thread, args in (
            ("user_annotation", f"ProfilerStep#{step}", 0, 990, 1, {"External id": call + 1}),
            ("cpu_op", "aten::mm", 10, 50, 1, {"External id": call + 2, **dims}),
            ("cuda_runtime", "cudaLaunchKernel", 20, 5, 1, {"External id": call + 2, "correlation": call + 3}),
            (
                "kernel",
                "nvjet_tst_128x256",
                40,
                300,
                7,
                {"External id": call + 2, "correlation": call + 3, "stream": 7},
            ),
            ("kernel", "ncclDevKernel_AllReduce", 400, 200, 9, {"correlation": call + 4, "stream": 9, **group}),
        ):
            events.append(
                {"ph": "X", "cat": category, "name": name, "pid": 7, "tid": thread, "ts": at + start, "dur": time}
                | {"args": args}
            )
    return events


def trace(draw: random.Random) -> list[str]:
    """A trace of PyTorch's profiler with events changed, dropped and doubled."""
    device = {"id": 0, "name": "NVIDIA H100 80GB HBM3", "numSms": 132, "totalGlobalMem": 85018279936}
    whole: Any = {"schemaVersion": 1, "deviceProperties": [device], "record_shapes": 1, "traceEvents": _events()}
    for _ in range(draw.randint(1, 5)):
        whole = _changed(draw, whole)
    Path("x.json").write_bytes(_damaged(draw, json.dumps(whole)))
    return draw.choice([["profile", "x.json"], ["profile", "x.json", "--model", "gpt2", "--format", "json"]])


LOGS = (
    "iteration {i:8d}/  500000 | elapsed time per iteration (ms): 5200.5 | global batch size:   256 | lm loss: 8.1 |",
    "Training epoch 0, iteration {i}/99 | global_batch_size: 256 | global_step: {i} | train_step_timing in s: 5.2005",
    "step {i:4d}/19560 | loss 9.5 (+nanz)| norm 3.1 (+nanz)| lr 6e-04 | 5200.50 ms | 45.1% bf16 MFU | 9 tok/s",
    "iter {i}: loss 3.1415, time 5200.50ms, mfu 30.12%",
    " {i}%|#   | {i}/100 [00:{i:02d}<04:30,  3.01s/it]",
    '{{"step": {i}, "step_time": 5.2, "tokens_per_second": 1000, "mfu": 0.3}}',
    '{{"_step": {i}, "_timestamp": {i}00.5, "train/loss": 2.0}}',
    "{i},5.2,1000,12{i}.5",
)
WORDS = (
    "nan",
    "inf",
    "-1",
    "0",
    "9" * 400,
    "1e999",
    "",
    "x",
    "\x1b[2J",
    "::",
    "1:2:3:4",
    ",",
    '"',
    "{",
    "\x00",
    "\ud800",
)


def log(draw: random.Random) -> list[str]:
    """A training log with words changed, lines dropped and doubled; or the state of a Trainer."""
    if draw.random() < 0.2:
        history = [{"step": i, "loss": 2.0, "epoch": 0.1} for i in range(5)]
        state: Any = {"log_history": [*history, {"step": 5, "train_steps_per_second": 0.5, "train_runtime": 10.0}]}
        for _ in range(draw.randint(1, 3)):
            state = _changed(draw, state)
        text = json.dumps(state)
    else:
        form = draw.choice(LOGS)
        lines = [form.format(i=i) for i in range(1, 8)]
        if form is LOGS[-1]:
            lines.insert(
                0, draw.choice(["step,step_time,tokens_per_second,wall time", "Wall time,Step,Value", "step,mfu"])
            )
        for _ in range(draw.randint(1, 5)):
            place = draw.randrange(len(lines))
            words = lines[place].split(draw.choice([" ", ",", ":", "/"]))
            words[draw.randrange(len(words))] = draw.choice(WORDS)
            lines[place : place + draw.randint(0, 1)] = [" ".join(words)]
        text = "\n".join(lines)
    Path("x.log").write_bytes(_damaged(draw, text))
    return ["mfu", "gpt2", "-d", "h100-sxm-80gb", "--log", "x.log", "--format", draw.choice(["table", "json", "csv"])]


def run_file(draw: random.Random) -> list[str]:
    """A framework's run file with lines changed, dropped, moved and doubled."""
    source = draw.choice([path for path in sorted(RUNS.iterdir()) if path.is_file()])
    lines = source.read_text(encoding="utf-8").splitlines()
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(lines))
        match draw.randrange(5):
            case 0:
                del lines[place]
            case 1:
                lines.insert(draw.randrange(len(lines)), lines[place])
            case 2:
                lines[place] = " " * draw.randrange(9) + lines[place]
            case _:
                words = lines[place].split(" ")
                odd = draw.choice(
                    [*WORDS, "$(id)", "${x:-${x}}", "&a [*a]", "!!python/object:os.system", "[" * 50, "1e9"]
                )
                words[draw.randrange(len(words))] = odd
                lines[place] = " ".join(words)
        lines = lines or ["x"]
    name = f"x{source.suffix}"
    Path(name).write_bytes(_damaged(draw, "\n".join(lines)))
    return draw.choice(
        [["estimate", name, "-d", "h100-sxm-80gb"], ["memory", name, "-d", "a100-sxm-80gb", "--explain-config"]]
    )
