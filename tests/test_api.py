import subprocess
import sys

import pytest

import roofline
from roofline.footprint.parts import PARTS
from roofline.hardware import override


def python(code, **options):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("name", roofline.__all__)
def test_every_exported_name_is_there(name):
    assert getattr(roofline, name) is not None


def test_dir_is_the_interface_and_nothing_else():
    roofline.estimate  # noqa: B018 (importing a name imports modules below the package)
    assert dir(roofline) == sorted(roofline.__all__)


def test_type_checkers_read_the_names_that_are_there():
    """The stub imports each name from where the table of lazy names has it."""
    import ast
    from pathlib import Path

    tree = ast.parse(Path(roofline.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    stated = {
        name.asname or name.name: f".{node.module}:{name.name}"
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert stated == roofline._EXPORTS
    (public,) = (ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    assert sorted(public) == sorted(roofline.__all__)


def test_no_module_bears_the_name_of_an_exported_one():
    from importlib.util import find_spec

    assert [name for name in roofline.__all__ if find_spec(f"roofline.{name}")] == []


def test_unknown_name():
    with pytest.raises(AttributeError, match="estimat"):
        roofline.estimat  # noqa: B018


def test_import_is_light():
    heavy = {"numpy", "pandas", "matplotlib", "rich", "pynvml", "psutil", "torch"}
    code = "import sys, roofline; print(*sys.modules)"
    assert not heavy & set(python(code).stdout.split())
    code = "import sys, roofline; roofline.estimate('gpt2-xl', device='h100-sxm-80gb'); print(*sys.modules)"
    assert not heavy & set(python(code).stdout.split())


@pytest.mark.parametrize("name", ["hardware.py", "hardware/__init__.py"])
def test_a_foreign_hardware_is_no_hindrance(tmp_path, name):
    (tmp_path / "hardware").mkdir()
    (tmp_path / name).write_text("raise RuntimeError('not ours')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from roofline.cli import main; sys.exit(main(['estimate', 'gpt2', '-d', 'h100-sxm-80gb']))"
    )
    result = python(code, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"micro_batch": True}, "micro_batch"),
        ({"micro_batch": "eight"}, "micro_batch"),
        ({"micro_batch": 1.5}, "1.5"),
        ({"micro_batch": float("nan")}, "nan"),
        ({"micro_batc": 3}, "micro_batch"),
        ({"tp": 0}, "tp"),
        ({"dtype": 3}, "dtype"),
        ({"stack": 3}, "stack"),
        ({"fused": ("loss",)}, "cross_entropy"),
        ({"sequence_parallel": "yes"}, "sequence_parallel"),
        ({"num_devices": 16, "network_gbit_per_s": float("nan")}, "network"),
        ({"dp": 3, "num_devices": 4}, "--num-devices 3"),
        ({"cp": 3, "num_devices": 3}, "2 or 4"),
        ({"seq_len": 10**15}, "seq_len"),
    ],
)
def test_bad_options_are_errors_with_the_name(options, words):
    with pytest.raises(roofline.RooflineError, match=words):
        roofline.estimate("llama-3-8b", "h100-sxm-80gb", **options)


def test_numbers_as_they_are_typed():
    typed = roofline.estimate("gpt2", "h100-sxm-80gb", micro_batch="8", seq_len="1k")
    assert typed.step_time_s == roofline.estimate("gpt2", "h100-sxm-80gb", micro_batch=8, seq_len=1024).step_time_s
    assert roofline.memory("gpt2", "h100-sxm-80gb", seq_len="1k").train.seq_len == 1024
    assert roofline.count("gpt2", seq_len="1k", micro_batch="2").tokens == 2048
    assert roofline.infer("gpt2", "h100-sxm-80gb", "decode", seq_len="1k").context == 1024


def test_one_class_catches_every_error():
    assert issubclass(roofline.HardwareError, roofline.RooflineError)
    with pytest.raises(roofline.RooflineError, match="h100-sxm-80gb"):
        roofline.estimate("gpt2", "h100-sxm-81gb")


def test_results_are_short_to_read():
    device = "h100-sxm-80gb"
    results = [
        roofline.estimate("gpt2", device),
        roofline.memory("gpt2", device),
        roofline.count("gpt2"),
        roofline.memory("gpt2"),
        roofline.infer("gpt2", device, "decode"),
        roofline.compare("gpt2", device),
    ]
    for result in results:
        assert len(repr(result)) < 130
        assert "gpt2" in repr(result) or "1 cases" in repr(result)


def test_help_names_every_option():
    text = roofline.estimate.__doc__
    assert all(name in text for name in roofline.TrainConfig.__struct_fields__)
    assert ">>> " in text


def test_compare_is_every_combination():
    result = roofline.compare(["gpt2"], ["a100-sxm-80gb", "h100-sxm-80gb"], micro_batch=[1, 2], tp=1)
    assert [case.varied for case in result.cases][-1] == {"device": "h100-sxm-80gb", "micro_batch": 2}
    assert list(result.to_frame()["micro_batch"]) == [1, 2, 1, 2]
    assert result.skipped == ()


def test_arrays_give_the_figures_of_each_element():
    np = pytest.importorskip("numpy")
    from roofline.answers.times import estimate_times
    from roofline.counting.step import build_step

    model, device = roofline.load_model("llama-3-8b"), roofline.load_device("h100-sxm-80gb")

    def times(micro_batch):
        return estimate_times(build_step(model, roofline.TrainConfig(micro_batch=micro_batch)), device)

    together = times(np.array([1.0, 2.0, 4.0]))
    for index, micro_batch in enumerate((1, 2, 4)):
        alone = times(micro_batch)
        assert together.expected[index] == pytest.approx(alone.expected)
        assert together.memory.fits[index] == alone.memory.fits


@pytest.mark.parametrize("stack", ["eager", "compiled", "megatron"])
@pytest.mark.parametrize("recompute", ["none", "selective", "full"])
@pytest.mark.parametrize("model", ["gpt2", "llama-3-8b", "mixtral-8x7b", "deepseek-v2-lite", "gemma-2-9b", "vit-b16"])
def test_figures_are_in_order_for_every_kind_of_model(model, stack, recompute):
    result = roofline.estimate(model, "h100-sxm-80gb", stack=stack, recompute=recompute)
    assert 0 < result.mfu <= result.hfu < 1
    assert result.ideal_step_time_s <= result.step_time_low_s <= result.step_time_s <= result.step_time_high_s
    assert 1 - sum(step.lost for step in result.waterfall) == pytest.approx(result.mfu)
    assert result.memory.total_bytes == pytest.approx(sum(getattr(result.memory, name) for name in PARTS))


def test_more_bandwidth_or_peak_is_never_slower():
    device = roofline.load_device("a100-sxm-80gb")
    seconds = roofline.estimate("gpt2-xl", device).step_time_s
    assert roofline.estimate("gpt2-xl", override(device, bandwidth_gb_per_s=4000)).step_time_s < seconds
    assert roofline.estimate("gpt2-xl", override(device, peak_tflops={"bf16": 400})).step_time_s < seconds
