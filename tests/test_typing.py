"""What a type checker says to those who use the package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import roofline

GOOD = """
import numpy as np
from numpy.typing import NDArray

import roofline

result = roofline.estimate("gpt2-xl", "h100-sxm-80gb", micro_batch=8, seq_len="1k", recompute="full")
x: float = result.step_time_s
fits: bool = result.fits
bound: str = result.bound
lost: float = sum(step.lost for step in result.waterfall)
held: float = result.memory.total_bytes

def faster(one: roofline.Estimate, other: roofline.Estimate) -> bool:
    return one.step_time_s < other.step_time_s

sweep = roofline.estimate("gpt2-xl", "h100-sxm-80gb", micro_batch=np.arange(1, 9))
times: NDArray[np.float64] = sweep.step_time_s
held_by_each: NDArray[np.float64] = roofline.memory("gpt2-xl", "h100-sxm-80gb", micro_batch=[1, 2]).total_bytes
table = roofline.compare(["gpt2", "gpt2-xl"], "h100-sxm-80gb", recompute=["none", "full"], micro_batch=[1, 2])
written: int = roofline.sweep("gpt2", ["t4"], record="all.csv", tp=[1, 2], recompute=["none", "full"]).written
best = roofline.layouts("gpt2-xl", "h100-sxm-80gb", num_devices=8, tp=[1, 2], sharding="zero1").layouts[0]
run: roofline.Run = roofline.settle("gpt2-xl", "h100-sxm-80gb", optimizer="adamw", pp_layout=None)
again: float = roofline.estimate(run=run, dtype="bfloat16").mfu
parameters: int = roofline.count("gpt2", micro_batch=np.int64(2)).params_total
days: float = roofline.plan("gpt2", "h100-sxm-80gb", tokens="3B", tp=1).wall_time_s
"""
BAD = {  # line -> what is said of it
    'roofline.estimate("gpt2", "t4", micro_bach=8)': 'did you mean "micro_batch"?',
    'roofline.memory("gpt2", micro_bach=8)': 'did you mean "micro_batch"?',
    'roofline.settle("gpt2", micro_bach=8)': 'did you mean "micro_batch"?',
    'roofline.compare("gpt2", "t4", micro_bach=[8])': 'did you mean "micro_batch"?',
    'roofline.mfu("gpt2", "t4", step_tim=3)': 'did you mean "step_time_s"?',
    'roofline.estimate("gpt2", "t4", recompute="ful")': """incompatible type "Literal['ful']\"""",
    'roofline.estimate("gpt2", "t4", attention="flash")': "No overload variant",
    'roofline.infer("gpt2", "t4", "decode", recompute="full")': 'Unexpected keyword argument "recompute"',
    'a: str = roofline.estimate("gpt2", "t4").step_time_s': 'expression has type "float"',
    'b: float = roofline.estimate("gpt2", "t4", micro_batch=[1, 2]).step_time_s': 'expression has type "ndarray',
}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What mypy says of each file."""
    pytest.importorskip("mypy")
    folder = tmp_path_factory.mktemp("consumer")
    (folder / "good.py").write_text(GOOD)
    (folder / "bad.py").write_text("\n".join(["import roofline", *BAD]) + "\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--no-error-summary", "good.py", "bad.py"]
    # an editable install is found through an import hook, which mypy does not follow: it is told where the package lies
    path = os.environ | {"PYTHONPATH": str(Path(roofline.__file__).parents[1])}
    done = subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_consumer_is_strictly_typed(said):
    assert [line for line in said if line.startswith("good.py")] == []


@pytest.mark.parametrize(("line", "words"), BAD.items())
def test_a_mistake_is_found_before_it_runs(said, line, words):
    number = list(BAD).index(line) + 2
    assert any(text.startswith(f"bad.py:{number}: error") and words in text for text in said)
