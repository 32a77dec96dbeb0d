"""``roofline profile`` prints a profile, or one line of why not."""

import csv
import io

import pytest

from roofline.cli import main


@pytest.fixture(scope="module")
def trace(tmp_path_factory, two_steps):
    return str(two_steps(rank=0, world_size=8).write(tmp_path_factory.mktemp("t") / "t.json.gz"))


def test_the_table_leads_from_the_step_to_the_largest_gap(trace, printed):
    out = printed("profile", trace)
    for words in ("Step        1 ms", "exposed all-reduce", "waiting for kernel launches", "4096x2048x1024", "MFU"):
        assert words in out
    assert out.index("Where a step goes") < out.index("Measured against expected") < out.index("Collectives")


def test_json_has_the_keys_of_the_contract(trace, answered):
    data = answered("profile", trace)
    assert {"steps", "terms", "ops", "collectives", "attributed_share", "mfu", "notes"} <= set(data)
    wanted = {"name", "kind", "phase", "count", "time_s", "flops", "bytes", "expected_time_s"}
    assert all(wanted <= set(op) for op in data["ops"])
    assert data["device"] == "h100-sxm-80gb"


def test_csv_has_an_op_a_row(trace, printed):
    rows = list(csv.DictReader(io.StringIO(printed("profile", trace, "--format", "csv"))))
    assert {row["kind"] for row in rows} == {"matmul", "collective", "optimizer"}
    assert float(rows[0]["time_s"]) == pytest.approx(400e-6)


def test_bad_input_is_one_line_and_status_2(tmp_path, capsys):
    path = tmp_path / "t.json"
    path.write_text("{}")
    assert main(["profile", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_a_profile_needs_neither_torch_nor_numpy(trace):
    import subprocess
    import sys

    code = (
        f"import sys; from roofline.cli import main; main(['profile', {trace!r}])\n"
        "assert not {'torch', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules), 'imports too much'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
