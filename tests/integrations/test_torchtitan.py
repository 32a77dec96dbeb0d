"""Our hook in torchtitan's metrics, against a stand-in."""

from itertools import count

import roofline
from roofline.integrations.torchtitan import attach
from roofline.steptimer import StepTimer

from .keys import KEYS


class Processor:
    """What is used of torchtitan's MetricsProcessor."""

    def __init__(self):
        self.logged = []

    def should_log(self, step):
        return step % 2 == 0

    def log(self, step, loss, extra_metrics=None):
        self.logged.append((step, loss, extra_metrics))


def test_torchtitan_logs_what_to_expect_beside_its_own(capsys):
    processor = Processor()
    expected = roofline.estimate("llama-3-8b", "h100-sxm-80gb", num_devices=8, sharding="fsdp", stack="torchtitan")
    ticks = count(0, 60)
    timer = attach(processor, StepTimer.of(expected, total_steps=100, warmup=0, clock=lambda: next(ticks)))
    for step in range(1, 7):
        if processor.should_log(step):
            processor.log(step, 2.0, extra_metrics={"lr": 1e-4})
    assert timer.steps == 6
    assert [step for step, _, _ in processor.logged] == [2, 4, 6]
    assert processor.logged[-1][2].keys() >= {*KEYS, "lr"}
    assert timer.verdict() in capsys.readouterr().out
