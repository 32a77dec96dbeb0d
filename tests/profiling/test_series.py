"""A run over its steps: warm-up, dips, drift."""

import pytest

from roofline.profiling.logs import Entry, Log
from roofline.profiling.series import series


def of(times, **given):
    entries = tuple(Entry(step=i, step_time_s=time, **given) for i, time in enumerate(times))
    return series(Log(path="train.log", framework="x", entries=entries))


def test_a_steady_run():
    found = of([2.0] * 50)
    assert (found.step_time_s, found.warm_up, found.dips, found.lost, found.verdict) == (2.0, 0, (), 0.0, "steady")


def test_the_warm_up_is_left_out():
    found = of([30.0, 5.0, 2.5] + [2.0] * 60)
    assert (found.warm_up, found.first_step, found.step_time_s) == (3, 3, 2.0)


def test_dips_cost_what_they_take_beyond_the_median():
    times = [2.0] * 100
    for step in (20, 40, 60, 80):
        times[step] = 6.0
    found = of(times)
    assert [dip.factor for dip in found.dips] == [3.0] * 4
    assert found.lost == pytest.approx(4 * 4.0 / 216.0)  # 4 s more, four times, in 96 x 2 + 4 x 6 s
    assert found.every == 20
    assert "every 20 steps" in found.verdict


def test_a_run_that_slows_down():
    found = of([2.0 + 0.01 * step for step in range(100)])
    assert found.drift > 0.3
    assert "slows down" in found.verdict


def test_steps_before_the_last_batch_size_are_left_out():
    entries = [Entry(step=i, step_time_s=1.0, global_batch=64) for i in range(20)]
    entries += [Entry(step=i, step_time_s=4.0, global_batch=256) for i in range(20, 60)]
    found = series(Log(path="train.log", framework="x", entries=tuple(entries)))
    assert (found.step_time_s, found.global_batch) == (4.0, 256)
    assert "20 steps" in found.notes[0]


def test_the_command_with_and_without_a_model(tmp_path, printed):
    path = tmp_path / "train.log"
    path.write_text(
        "\n".join(f"iter {i}: loss 3.1, time {4000 if i == 40 else 1000}.0ms, mfu 30.0%" for i in range(80))
    )
    alone = printed("mfu", "--log", str(path))
    assert "1 s in the median" in alone
    assert "1 dip costs" in alone
    both = printed("mfu", "gpt2", "-d", "a100-sxm-80gb", "--micro-batch", "32", "--log", str(path))
    assert both.startswith(alone.split("\n\n")[0])
    assert "Step      1 s: 32,768 tokens/s" in both


def test_a_log_of_another_run(tmp_path, refused):
    path = tmp_path / "train.log"
    line = "iteration {i}/ 100 | elapsed time per iteration (ms): 1000.0 | global batch size: 256 |"
    path.write_text("\n".join(line.format(i=i) for i in range(1, 20)))
    assert "another run's log" in refused(
        "mfu", "gpt2", "-d", "a100-sxm-80gb", "--global-batch", "16", "--log", str(path)
    )
    assert "leave --step-time-s" in refused("mfu", "--step-time", "1", "--log", str(path))
