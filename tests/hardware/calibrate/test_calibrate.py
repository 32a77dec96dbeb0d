"""Calibration as a whole: a file that loads, what is said of noise, and nothing half-written."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from roofline.hardware import HardwareError, load_device
from roofline.hardware.calibrate import calibrate as module
from roofline.hardware.calibrate.calibrate import _said, accelerator, calibrate, choose_engine, noise, sigma_of
from roofline.hardware.calibrate.kernels import NumpyEngine
from roofline.hardware.check.rules import problems
from roofline.hardware.detect.cpu import read_cpu


def test_numpy_calibration_of_this_machine_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "roofline.hardware.calibrate.kernels.CPU_SHAPES", tuple((n, n, n) for n in (32, 48, 64, 96, 128))
    )
    monkeypatch.setattr("roofline.hardware.calibrate.kernels.stream_size", lambda: 2**22)
    shares: list[float] = []
    # one thread is timed by its own processor time: a busy machine makes no memory look impossibly slow
    options: dict[str, Any] = {"threads": 1, "budget_s": 3.0, "rounds": 1}
    calibration = calibrate("numpy", **options, progress=lambda _what, share: shares.append(share))
    assert list(problems(calibration.device)) == []
    assert "NumPy" in calibration.device.sources["calibration"]
    assert {"launch", "stream"} <= {sample.group for sample in calibration.samples}
    assert all(0 <= share <= 1 for share in shares)


def test_interrupted_calibration_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from roofline.cli import main

    def interrupted(*_args: Any, **_kwargs: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("roofline.hardware.calibrate.calibrate.calibrate", interrupted)
    assert main(["calibrate", "--output", str(tmp_path / "x.toml")]) == 130
    assert "nothing is written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_missing_torch_names_the_extra() -> None:
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("torch is installed")
    with pytest.raises(HardwareError, match=r"roofline\[torch\]"):
        choose_engine("torch", read_cpu())
    assert isinstance(choose_engine("auto", read_cpu()), NumpyEngine)


def test_more_threads_than_cores_is_refused() -> None:
    with pytest.raises(HardwareError, match="--threads 4096"):
        calibrate("numpy", threads=4096)


def test_what_makes_a_result_noisy_is_said() -> None:
    assert noise(0.04, [], [], alone=False) == ()
    assert noise(0.23, [], [], alone=False) == ("rounds differ by 23 % (median)",)
    assert len(noise(0.0, ["other programs use 90 % of the CPU"], ["gemm: cap = 0.03 ..."], alone=True)) == 3


@pytest.mark.parametrize(("rounds", "factor"), [(2, 1.128), (3, 1.693), (5, 2.326), (9, 2.326)])
def test_the_spread_between_rounds_is_in_the_interval(rounds: int, factor: float) -> None:
    import roofline

    base, engine = load_device("epyc-9654"), SimpleNamespace(name="fake 1.0", threads=2)
    said = _said(base, engine, rounds, 0.2, noisy=False, sigma=sigma_of(rounds, 0.2, 0.0))  # type: ignore[arg-type]
    assert said.spread == pytest.approx(0.2 / factor, rel=0.05)
    assert any("differ by 20 %" in caveat for caveat in said.caveats)
    widths = []
    for device in (base, said):
        result = roofline.estimate("gpt2", device, dtype="fp32", micro_batch=1, seq_len=256)
        widths.append(result.step_time_high_s / result.step_time_low_s)
    assert widths[1] > widths[0]


def test_what_others_use_widens_what_rounds_do_not_show() -> None:
    assert sigma_of(3, 0.0, 0.0) is None
    assert sigma_of(3, 0.1, 0.0) == pytest.approx(0.059)
    # up to twice as slow in 80 of 100 cases: ln 2 / 2.5631
    assert sigma_of(1, 0.0, 1.0) == pytest.approx(0.27)
    assert sigma_of(3, 0.1, 1.0) == pytest.approx(0.28)


def test_a_virtual_machine_holds_what_other_guests_take() -> None:
    # three calibrations of one: 64.1, 61.2 and 84.1 GB/s; standard deviation of their logarithms 0.17
    logs = np.log([64.1, 61.2, 84.1])
    assert sigma_of(1, 0.0, 0.0, guest=True) == pytest.approx(np.std(logs, ddof=1), abs=0.005)
    assert sigma_of(3, 0.1, 0.0, guest=True) == pytest.approx(0.18)


def test_one_round_knows_no_spread() -> None:
    said = _said(load_device("epyc-9654"), SimpleNamespace(name="x", threads=1), 1, 0.0, noisy=True)  # type: ignore[arg-type]
    assert said.spread is None
    assert "one round" in said.sources["calibration"]
    assert "noisy machine" in said.caveats[-1]


@pytest.mark.parametrize(
    ("cuda", "xpu", "mps", "kind"),
    [(True, True, True, "cuda"), (False, True, True, "xpu"), (False, False, True, "mps"), (False, False, False, None)],
)
def test_the_accelerator_is_the_first_that_pytorch_has(cuda: bool, xpu: bool, mps: bool, kind: str | None) -> None:
    def backend(there: bool) -> Any:
        return SimpleNamespace(is_available=lambda: there)

    torch = SimpleNamespace(cuda=backend(cuda), xpu=backend(xpu), backends=SimpleNamespace(mps=backend(mps)))
    assert accelerator(torch) == kind


def test_a_whole_calibration_keeps_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share of the budget that goes to kernels, whatever came before."""
    seen: dict[str, float] = {}

    def measured(_engine: Any, rounds: int, budget_s: float, _progress: Any, **_: Any) -> Any:
        seen["budget"] = budget_s
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "measure", measured)
    with pytest.raises(KeyboardInterrupt):
        calibrate("numpy", budget_s=50.0)
    assert 0 < seen["budget"] < 0.8 * 50


def test_fewer_cores_are_taken_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_cpu", lambda: msgspec.structs.replace(read_cpu(), available_cores=1))
    with pytest.raises(HardwareError, match="may use 1 cores"):
        calibrate("numpy", threads=2)
