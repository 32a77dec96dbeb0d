"""What became of every key of a run's files."""

from roofline.readers.result import ConfigReport, ReadKey, RunFile
from roofline.view.runfile import explained, explained_records


def run_file(*, unknown: list[str]) -> RunFile:
    report = ConfigReport(
        framework="torchtitan",
        files=["run.toml"],
        read=[
            ReadKey(key="training.seq_len", value=2048, option="seq_len"),
            ReadKey(key="x", value=[1, 2], option="y"),
        ],
        assumed=["bf16, its default"],
        ignored=["job.description"],
        not_understood=unknown,
    )
    return RunFile(title="torchtitan", model=None, options={"seq_len": 2048}, said={}, report=report, notes=())


def test_what_was_not_understood_comes_first():
    tables = explained(run_file(unknown=["training.secret"]))
    assert [table.title for table in tables] == [
        "run.toml: torchtitan",
        "Not understood",
        "Read",
        "Assumed",
        "Without bearing on time or memory",
    ]
    assert dict(tables[0].rows)["Keys"] == "2 read, 1 assumed, 1 without bearing, 1 not understood"
    assert dict(tables[0].rows)["Model"] == "not named"


def test_nothing_unknown_is_no_table():
    assert [table.title for table in explained(run_file(unknown=[]))][1] == "Read"


def test_a_row_per_key():
    rows = explained_records(run_file(unknown=["a"])).rows
    assert rows[0] == ["not understood", "a", "", ""]
    assert ["read", "x", "1, 2", "y"] in rows
    assert len(rows) == 5
