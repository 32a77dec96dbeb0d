"""What became of every key of a run's files: each in one place, as JSON takes it."""

import json

from roofline.readers.read import read_run

TITAN = """
[model]
name = "llama3"
flavor = "8B"
[training]
local_batch_size = 1
seq_len = 2048
[job]
description = "mine"
"""


def test_a_key_is_read_ignored_or_not_understood_and_never_two_of_them(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(TITAN)
    report = read_run(path).report
    read = {key.key for key in report.read}
    assert {"training.local_batch_size", "training.seq_len"} <= read
    assert not read & {*report.ignored, *report.not_understood}
    assert not set(report.ignored) & set(report.not_understood)
    assert report.files == [str(path)]
    assert {key.option for key in report.read} >= {"micro_batch", "seq_len"}


def test_options_and_report_can_be_written(tmp_path):
    import msgspec

    path = tmp_path / "run.toml"
    path.write_text(TITAN)
    found = read_run(path)
    assert json.loads(msgspec.json.encode(found.report))["framework"] == "torchtitan"
    assert (found.options["micro_batch"], found.options["seq_len"], found.model.n_layers) == (1, 2048, 32)
