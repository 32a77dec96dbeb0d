"""A log gives the steps and times that its lines say, whatever framework wrote it."""

import json

import pytest

from roofline.errors import RooflineError
from roofline.profiling.logs import read_log

LINES = {
    "Megatron-LM": " [2025-03-03 10:00:00.12] iteration {i:8d}/  500000 | consumed samples: {i:12d} | elapsed time per "
    "iteration (ms): 5200.5 | throughput per GPU (TFLOP/s/GPU): 400.1 | learning rate: 1.0E-05 | global batch size: "
    "  256 | lm loss: 8.1E+00 | loss scale: 1.0 |",
    "NeMo": "Training epoch 0, iteration {i}/99 | lr: 1e-07 | global_batch_size: 256 | global_step: {i} | "
    "reduced_train_loss: 11.0 | train_step_timing in s: 5.2005 | consumed_samples: 512",
    "llm.c": "step {i:4d}/19560 | loss 9.5 (+nanz)| norm 3.1 (+nanz)| lr 6e-04 | 5200.50 ms | 45.1% bf16 MFU | 9 tok/s",
    "nanoGPT": "iter {i}: loss 3.1415, time 5200.50ms, mfu 30.12%",
    "nanochat": "step {i:05d}/21400 (0.10%) | loss: 9.1 | lrm: 1.00 | dt: 5200.50ms | tok/sec: 100,816 | mfu: 47.20",
}


MORE = {  # other forms of the same, and rates
    "Megatron-LM": "[default7]: iteration {i:8d}/ 9 | consumed samples: 16 | elapsed time per iteration (s): 5.2005 | "
    "learning rate: 1.0E-05 | global batch size: 16 | lm loss: 1.2E+01 | samples per second: 3.05 |",
    "llm.c": "step {i:4d}/100 | train loss 4.5 | norm 3.1 | lr 6.00e-04 | (5200.50 ms | 7869 tok/s)",
    "MaxText": "completed step: {i}, seconds: 5.2005, TFLOP/s/device: 180.123, Tokens/s/device: 3012.345, loss: 8.1",
    "fairseq": "2023-01-01 10:00:00 | INFO | train_inner | epoch 001: {i} / 1000 loss=5.1, wps=1234, ups=0.19229, "
    "wpb=9, bsz=512, num_updates={i}, lr=0.0001",
}


@pytest.mark.parametrize("framework", MORE)
def test_other_forms_of_printed_lines(tmp_path, framework):
    path = tmp_path / "train.log"
    path.write_text("\n".join(MORE[framework].format(i=i) for i in range(1, 6)))
    log = read_log(path)
    assert log.framework == framework
    assert [entry.step for entry in log.entries] == [1, 2, 3, 4, 5]
    assert [entry.step_time_s for entry in log.entries] == pytest.approx([5.2005] * 5, rel=1e-4)


def test_torchtune_logs_tokens_of_each_device(tmp_path):
    path = tmp_path / "log_1.txt"
    path.write_text(
        "\n".join(f"Step {i} | loss:1.2 lr:2e-05 tokens_per_second_per_gpu:1234.5 peak:10" for i in range(4))
    )
    assert {entry.tokens_per_s_per_device for entry in read_log(path).entries} == {1234.5}


def test_the_trainers_steps_are_not_those_of_wandb(tmp_path):
    """wandb counts its own calls: 52 s between two of them, in which the trainer made ten steps."""
    path = tmp_path / "wandb.csv"
    path.write_text("_step,train/global_step,_timestamp\n" + "\n".join(f"{i},{10 * i},{52 * i}" for i in range(1, 6)))
    assert {(entry.step, entry.step_time_s) for entry in read_log(path).entries} >= {(20, 5.2), (50, 5.2)}


@pytest.mark.parametrize("between", [";", "\t"])
def test_columns_may_be_parted_otherwise(tmp_path, between):
    path = tmp_path / "log.csv"
    path.write_text(f"step{between}step_time_ms\n" + "\n".join(f"{i}{between}123.5" for i in range(1, 6)))
    assert {entry.step_time_s for entry in read_log(path).entries} == {0.1235}


def test_a_chart_of_several_runs_is_one_line(tmp_path):
    path = tmp_path / "chart.csv"
    path.write_text('"Step","a - step_time","b - step_time"\n' + "\n".join(f"{i},1,2" for i in range(1, 6)))
    with pytest.raises(RooflineError, match=r"chart\.csv: several runs in one table \(a, b\)"):
        read_log(path)


@pytest.mark.parametrize("framework", LINES)
def test_printed_lines_with_a_step_time(tmp_path, framework):
    path = tmp_path / "train.log"
    path.write_text("starting, step by step\n" + "\n".join(LINES[framework].format(i=i) for i in range(1, 6)))
    log = read_log(path)
    assert log.framework == framework
    assert [entry.step for entry in log.entries] == [1, 2, 3, 4, 5]
    assert {entry.step_time_s for entry in log.entries} == {5.2005}


def test_batch_and_printed_mfu(tmp_path):
    path = tmp_path / "train.log"
    path.write_text("\n".join(LINES["Megatron-LM"].format(i=i) for i in range(1, 4)))
    assert {entry.global_batch for entry in read_log(path).entries} == {256}
    path.write_text("\n".join(LINES["nanoGPT"].format(i=i) for i in range(1, 4)))
    assert {entry.mfu for entry in read_log(path).entries} == {30.12 / 100}


def test_torchtitan_in_colour_logs_tokens_of_each_device(tmp_path):
    path = tmp_path / "train.log"
    line = (
        "[rank0]:2025-01-01 00:00:00,000 - root - INFO - \x1b[31mstep: {i:2d}  \x1b[32mloss:  7.1234  \x1b[33mmemory: "
        "40.10GiB(50.67%)  \x1b[34mtps: 5,678  \x1b[36mtflops: 320.10  \x1b[35mmfu: 32.35%\x1b[39m"
    )
    path.write_text("\n".join(line.format(i=i) for i in (1, 10, 20, 30)))
    entries = read_log(path).entries
    assert [(e.step, e.tokens_per_s_per_device, e.mfu) for e in entries][1] == (10, 5678, pytest.approx(0.3235))


def test_a_progress_bar_gives_the_time_between_its_lines(tmp_path):
    path = tmp_path / "train.log"
    path.write_text(
        "\r".join(f" {i}%|#   | {i}/100 [{3 * i // 60:02d}:{3 * i % 60:02d}<04:30,  3.01s/it]" for i in range(50))
    )
    assert {entry.step_time_s for entry in read_log(path).entries} == {3.0}


def test_passes_of_one_step_add_up(tmp_path):
    path = tmp_path / "train.log"
    line = "Epoch 1 | iter {n} step {step} | loss train: 3.1, val: n/a | iter time: 100.00 ms (step) remaining time: 1"
    path.write_text("\n".join(line.format(n=n, step=n // 4) for n in range(16)))
    assert [(e.step, e.step_time_s) for e in read_log(path).entries] == [(i, pytest.approx(0.4)) for i in range(4)]


def test_trainer_state_has_one_mean(tmp_path):
    path = tmp_path / "trainer_state.json"
    history = [{"loss": 1.0, "step": 10}, {"train_runtime": 300.0, "train_steps_per_second": 0.25, "step": 75}]
    path.write_text(json.dumps({"global_step": 75, "log_history": history}))
    (entry,) = read_log(path).entries
    assert (entry.step, entry.step_time_s) == (75, 4.0)


def test_csv_of_tensorboard_and_wandb(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("Wall time,Step,Value\n" + "".join(f"{1.7e9 + 32 * i},{10 * i},{i}\n" for i in range(5)))
    log = read_log(path)
    assert (log.framework, {e.step_time_s for e in log.entries}) == ("TensorBoard", {3.2})
    path.write_text(
        '"Step","a - perf/step_time","a - perf/step_time__MIN"\n' + "".join(f'"{i}","2.5","1"\n' for i in range(5))
    )
    log = read_log(path)
    assert (log.framework, {e.step_time_s for e in log.entries}) == ("wandb", {2.5})
    path.write_text("_step,_runtime,train/loss\n" + "".join(f"{i},{4 * i},1.0\n" for i in range(5)))
    assert {e.step_time_s for e in read_log(path).entries} == {4.0}
    path.write_text("_step,train/tokens_per_sec\n" + "".join(f"{i},64000\n" for i in range(5)))
    assert {e.tokens_per_s for e in read_log(path).entries} == {64000}


def test_json_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("\n".join(json.dumps({"step": i, "step_time_ms": 250.0}) for i in range(4)))
    assert {e.step_time_s for e in read_log(path).entries} == {0.25}


def test_after_a_restart_the_last_run_counts(tmp_path):
    path = tmp_path / "train.log"
    steps = [1, 2, 3, 4, 5, 3, 4, 5, 6]
    path.write_text("\n".join(LINES["nanoGPT"].format(i=i) for i in steps))
    assert [entry.step for entry in read_log(path).entries] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    "content", ["", "hello, step one", "a,b\n1,2\n", "{}", "[1, 2]", '{"log_history": [{"step": 1}]}']
)
def test_what_is_no_log_is_one_line(tmp_path, content):
    path = tmp_path / "train.log"
    path.write_text(content)
    with pytest.raises(RooflineError) as caught:
        read_log(path)
    assert str(path) in str(caught.value)


def test_no_such_log(tmp_path):
    with pytest.raises(RooflineError, match="cannot read log"):
        read_log(tmp_path / "none.log")


def test_a_log_too_large_to_be_one_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("roofline.profiling.logs.LARGEST", 1_000)
    path = tmp_path / "huge.log"
    path.write_text("iteration 1 | elapsed time per iteration (ms): 100.0 |\n" * 30)
    with pytest.raises(RooflineError, match=r"more than 0.001 MB: keep the lines that say how long"):
        read_log(path)


def test_numbers_that_are_none_say_nothing(tmp_path):
    path = tmp_path / "trainer_state.json"
    odd = [[1], "x", True, 0, {}]
    history = [{"step": 3, "train_steps_per_second": each} for each in odd]
    path.write_text(json.dumps({"log_history": [*history, {"step": 7, "train_steps_per_second": 0.5}]}))
    assert [(entry.step, entry.step_time_s) for entry in read_log(path).entries] == [(7, 2.0)]
    path.write_text("\n".join(f"iter {'9' * 5000}: loss 3.1, time 52.00ms, mfu 30.12%" for _ in range(3)))
    with pytest.raises(RooflineError, match="1 step with a time"):
        read_log(path)
