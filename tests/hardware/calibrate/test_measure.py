"""Rounds over all kernels, in the seconds that were asked for."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from roofline.hardware.calibrate.kernels import Kernel
from roofline.hardware.calibrate.measure import measure


class Slow:
    """An engine whose clock is its own: products of growing size, each of which takes what its FLOPs say."""

    name, threads = "slow 1.0", 2

    def __init__(self, flops: tuple[float, ...], build_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flops, self.build_s, self.time = flops, build_s, 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.time)

    def now(self) -> float:
        return self.time

    def kernels(self) -> Iterator[Kernel]:
        for flops in self.flops:
            yield Kernel(group="gemm", name=f"{flops:g}", dtype="fp32", flops=flops, build=self._build(flops))

    def _build(self, flops: float) -> Callable[[], Callable[[], Any]]:
        def run() -> None:
            self.time += flops / 1e9

        def build() -> Callable[[], Any]:
            self.time += self.build_s
            return run

        return build


def test_every_kernel_runs_in_every_round_and_progress_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, seen = Slow((1e6, 2e6, 3e6), 0.0, monkeypatch), []
    found = measure(
        engine, rounds=2, budget_s=1.0, progress=lambda what, share: seen.append((what, share)), now=engine.now
    )
    assert [s.name for s in found.samples] == ["1e+06", "2e+06", "3e+06"]
    assert all(len(s.rounds) == 2 and s.seconds == min(s.rounds) for s in found.samples)
    assert found.samples[2].seconds == pytest.approx(0.003)
    assert found.notes == ()
    assert [share for _, share in seen] == sorted(share for _, share in seen)


def test_a_kernel_is_timed_by_its_launches(monkeypatch: pytest.MonkeyPatch) -> None:
    class Often(Slow):
        def kernels(self) -> Iterator[Kernel]:
            for kernel in super().kernels():
                yield msgspec.structs.replace(kernel, inner=10)

    engine = Often((1e6,), 0.0, monkeypatch)
    (only,) = measure(engine, rounds=1, budget_s=1.0, progress=lambda *_: None, now=engine.now).samples
    assert only.seconds == pytest.approx(0.0001)


@pytest.mark.parametrize("budget", [2.0, 5.0, 40.0])
@pytest.mark.parametrize("build_s", [0.0, 0.2])
def test_the_time_asked_for_is_kept(monkeypatch: pytest.MonkeyPatch, budget: float, build_s: float) -> None:
    flops = (1e7, 1e8, 5e8, 1e9, 2e9, 4e9, 1e9)  # 10 ms to 4 s a run
    engine = Slow(flops, build_s, monkeypatch)
    found = measure(engine, rounds=3, budget_s=budget, progress=lambda *_: None, now=engine.now)
    assert engine.time <= budget + build_s + 0.2
    assert found.samples[0].seconds == pytest.approx(0.01)
    if engine.time < 3 * (2 * sum(flops) / 1e9):
        assert found.notes


def test_what_there_is_no_time_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Slow((1e8, 1e11), 0.0, monkeypatch)  # 0.1 s and 100 s a run
    found = measure(engine, rounds=2, budget_s=10.0, progress=lambda *_: None, now=engine.now)
    assert [s.name for s in found.samples] == ["1e+08"]
    assert any("no time for 1e+11" in note for note in found.notes)
    assert engine.time <= 10


def test_what_does_not_run_on_a_backend_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Slow):
        def kernels(self) -> Iterator[Kernel]:
            yield from super().kernels()
            yield Kernel(group="attention", name="odd", dtype="bf16", build=self._refuse)

        def _refuse(self) -> Callable[[], Any]:
            raise NotImplementedError("not for this backend\nat all")

    engine = Odd((1e6, 2e6, 3e6), 0.0, monkeypatch)
    found = measure(engine, rounds=2, budget_s=1.0, progress=lambda *_: None, now=engine.now)
    assert len(found.samples) == 3
    assert found.notes == ("odd did not run (not for this backend): the default stays there",)
    assert not any(math.isnan(s.seconds) for s in found.samples)
