"""A trace as nsys exports it gives the profile that torch.profiler's file of the same run gives."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from roofline.errors import RooflineError
from roofline.profiling.nsys import is_export
from roofline.profiling.profile import profile

_PROCESS = 0x1000_0000_0000_0000 + (7 << 24)  # serialized: hardware, virtual machine, process; its thread in 24 bits


def export(trace: Any, path: Path, *, shapes: bool = True, tables: tuple[str, ...] = ()) -> Path:
    """Write a hand-made trace as nsys does: nanoseconds, texts by number, a table per kind of activity."""
    base = sqlite3.connect(path)
    base.executescript(
        """
        CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT NOT NULL);
        CREATE TABLE TARGET_INFO_GPU (id INT, name TEXT, smCount INT, totalMemory INT, cuDevice INT);
        CREATE TABLE NVTX_EVENTS (start INT, end INT, eventType INT, text TEXT, textId INT, globalTid INT);
        CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INT, end INT, globalTid INT, correlationId INT, nameId INT);
        CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, deviceId INT, streamId INT, correlationId INT,
            globalPid INT, demangledName INT, shortName INT);
        CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, deviceId INT, streamId INT, correlationId INT,
            globalPid INT, bytes INT);
        """
    )
    numbers: dict[str, int] = {}
    for gpu in trace.keys["deviceProperties"]:
        row = gpu["id"], gpu["name"], gpu["numSms"], gpu["totalGlobalMem"], gpu["id"]
        base.execute("INSERT INTO TARGET_INFO_GPU VALUES (?, ?, ?, ?, ?)", row)
    for event in trace.events:
        args = event["args"]
        start, end = round(event["ts"] * 1000), round((event["ts"] + event["dur"]) * 1000)
        number = numbers.setdefault(event["name"], len(numbers) + 1)
        category = event["cat"]
        if category == "kernel":
            row = start, end, 0, args["stream"], args["correlation"], _PROCESS, number, 0
            base.execute("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        elif category == "gpu_memcpy":
            row = start, end, 0, args["stream"], args["correlation"], _PROCESS, args["bytes"]
            base.execute("INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        elif category == "cuda_runtime":
            row = start, end, _PROCESS + event["tid"], args["correlation"], number
            base.execute("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?, ?, ?)", row)
        else:
            text = event["name"]
            if category == "cpu_op":
                text += f", seq = {args['Sequence number']}" if "Sequence number" in args else ""
                text += f", op_id = {args['External id']}"
                text += f", sizes = {args['Input Dims']}" if shapes and "Input Dims" in args else ""
            row = start, end, 59, text, None, _PROCESS + event["tid"]
            base.execute("INSERT INTO NVTX_EVENTS VALUES (?, ?, ?, ?, ?, ?)", row)
    base.executemany("INSERT INTO StringIds VALUES (?, ?)", [(number, text) for text, number in numbers.items()])
    for table in tables:
        base.execute(f"DROP TABLE {table}")
    base.commit()
    base.close()
    return path


def named(trace: Any) -> Any:
    """The trace with kernels whose names say their dtype, as those of real libraries do."""
    for event in trace.events:
        event["name"] = re.sub(r"^nvjet_(forward|backward)$", r"nvjet_tst_128x256_\1", event["name"])
    return trace


def test_the_same_run_gives_the_same_profile(tmp_path, two_steps):
    kineto = profile([named(two_steps()).write(tmp_path / "t.json")])
    nsys = profile([export(named(two_steps()), tmp_path / "t.sqlite")])
    assert nsys.device == kineto.device
    assert nsys.step_time_s == pytest.approx(kineto.step_time_s)
    assert [step.kernels for step in nsys.steps] == [step.kernels for step in kineto.steps]
    matmuls = [(op.name, op.phase, op.dtype, op.shapes, op.flops, op.bytes) for op in nsys.ops if op.kind == "matmul"]
    assert matmuls == [
        (op.name, op.phase, op.dtype, op.shapes, op.flops, op.bytes) for op in kineto.ops if op.kind == "matmul"
    ]
    # two steps of [4096, 1024] @ [1024, 2048]
    assert next(op.flops for op in nsys.ops if op.phase == "forward") == 2 * 2 * 4096 * 1024 * 2048
    assert nsys.totals.nccl_exposed_s == pytest.approx(kineto.totals.nccl_exposed_s)
    assert nsys.mfu == pytest.approx(kineto.mfu)
    # what NVTX does not say: bytes of the collective
    assert any(kernel.kind == "collective" for kernel in nsys.unattributed)
    assert any("writes no dtypes" in note for note in nsys.notes)


def test_processes_of_one_file_keep_their_launches_apart(tmp_path, two_steps):
    path = export(named(two_steps()), tmp_path / "t.sqlite")
    alone = profile([path])
    with sqlite3.connect(path) as base:  # a second process on device 1 with the same numbers of launches, half as long
        base.execute(
            "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL SELECT start, (start + end) / 2, 1, streamId, correlationId, "
            "globalPid + (1 << 24), demangledName, shortName FROM CUPTI_ACTIVITY_KIND_KERNEL"
        )
        base.execute(
            "INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME SELECT start + 900, end + 900, globalTid + (1 << 24), "
            "correlationId, nameId FROM CUPTI_ACTIVITY_KIND_RUNTIME"
        )
    both = profile([path])
    assert both.ops == alone.ops
    assert any("of other devices are left out" in note for note in both.notes)


def test_without_shapes_it_says_how_to_record_them(tmp_path, two_steps):
    found = profile([export(two_steps(), tmp_path / "t.sqlite", shapes=False)])
    assert any("--pytorch=autograd-shapes-nvtx" in note for note in found.notes)
    assert found.attributed_share == 0


def test_a_graph_is_one_row(tmp_path, two_steps):
    path = export(named(two_steps()), tmp_path / "t.sqlite")
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_GRAPH_TRACE (start INT, end INT, deviceId INT, streamId INT)")
        base.execute("INSERT INTO CUPTI_ACTIVITY_KIND_GRAPH_TRACE VALUES (1500000, 1700000, 0, 7)")
    found = profile([path])
    assert any(
        kernel.name.startswith("CUDA graph") and kernel.time_s == pytest.approx(200e-6) for kernel in found.unattributed
    )


def test_what_is_no_export_says_so(tmp_path, two_steps):
    report = tmp_path / "run.nsys-rep"
    report.write_bytes(b"x")
    with pytest.raises(RooflineError, match="nsys export --type sqlite run.nsys-rep"):
        profile([report])
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as base:
        base.execute("CREATE TABLE people (name TEXT)")
    assert is_export(other)
    with pytest.raises(RooflineError, match=r"no table StringIds \(it has people\)"):
        profile([other])
    whole = export(two_steps(), tmp_path / "t.sqlite")
    cut = tmp_path / "cut.sqlite"
    cut.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(RooflineError, match="damaged or no export of nsys"):
        profile([cut])
    host = export(two_steps(), tmp_path / "host.sqlite", tables=("CUPTI_ACTIVITY_KIND_KERNEL",))
    with pytest.raises(RooflineError, match="no kernel|no GPU kernels"):
        profile([host])


def test_a_number_beyond_64_bits_in_the_text_of_a_range_is_text(tmp_path, two_steps):
    path = export(named(two_steps()), tmp_path / "t.sqlite")
    with sqlite3.connect(path) as base:
        base.execute("UPDATE NVTX_EVENTS SET text = 'aten::mm, seq = ' || hex(zeroblob(3000)) || ', op_id = 1'")
    base.close()
    profile([path])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET start = 'x'", "KERNEL.start holds text"),
        ("UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET end = NULL", "KERNEL.end holds nothing"),
        ("UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET end = 9e999", "KERNEL.end holds fractions"),  # infinity
        ("UPDATE CUPTI_ACTIVITY_KIND_RUNTIME SET correlationId = '7x'", "RUNTIME.correlationId holds text"),
        ("UPDATE CUPTI_ACTIVITY_KIND_RUNTIME SET globalTid = x'00'", "RUNTIME.globalTid holds bytes"),
        ("UPDATE NVTX_EVENTS SET text = x'00ff'", "NVTX_EVENTS.text holds bytes"),
        ("UPDATE StringIds SET value = x'00'", "value holds bytes"),
        ("UPDATE TARGET_INFO_GPU SET smCount = 0.5", "TARGET_INFO_GPU.smCount holds fractions"),
        ("UPDATE StringIds SET value = CAST(zeroblob(12000000) AS TEXT)", "damaged or no export of nsys"),
        ("DROP TABLE StringIds", "no table StringIds"),
        ("DROP TABLE StringIds; CREATE VIEW StringIds AS SELECT 1 AS id, 'x' AS value", "no table StringIds"),
    ],
)
def test_what_nsys_never_writes_is_told_by_table_and_column(change, says, tmp_path, two_steps):
    path = export(named(two_steps()), tmp_path / "t.sqlite")
    with sqlite3.connect(path) as base:
        base.executescript(change)
    base.close()
    with pytest.raises(RooflineError, match=re.escape(says)):
        profile([path])
