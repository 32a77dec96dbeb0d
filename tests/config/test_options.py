"""Options of Python calls: read as people type them, as arrays of any kind, and refused in one sentence."""

import numpy as np
import pandas as pd
import pytest

import roofline
from roofline import units
from roofline.config.options import choices, of_one_run, read, read_one, read_options
from roofline.errors import RooflineError

MODEL, DEVICE = roofline.load_model("llama-3.1-405b"), roofline.load_device("h100-sxm-80gb")
LARGE = {"num_devices": 1024, "tp": 8, "pp": 8, "micro_batch": 1, "seq_len": 8192}


def test_arrays_and_nothing_pass_through():
    assert read("tp", np.array([1, 2]), units.positive_int).tolist() == [1.0, 2.0]
    assert read("tp", None, units.positive_int) is None
    assert read("tp", ["1", 2], units.positive_int) == (1, 2)


def test_one_number_is_asked_for():
    assert read_one("tokens", np.int64(7), units.count) == 7
    for several in ([1, 2], np.array([1, 2])):
        with pytest.raises(RooflineError, match=r"tokens: .* is not one number"):
            read_one("tokens", several, units.count)


@pytest.mark.parametrize("value", [True, -1, 0, 1.5, "eight", float("nan"), float("inf")])
def test_nonsense_names_the_option(value):
    with pytest.raises(RooflineError, match="micro_batch: "):
        read_options({"micro_batch": value})


def test_words_are_read_as_on_the_command_line():
    said = {"dtype": "BFloat16", "fused": "cross-entropy, norm", "freeze": ["embeddings"], "lora_modules": "q_proj+mlp"}
    read_words = {"dtype": "bf16", "fused": ("cross_entropy", "norm"), "freeze": ("embeddings",)}
    assert of_one_run(said) == {**read_words, "lora_modules": "q_proj,mlp"}
    assert of_one_run({"sequence_parallel": np.bool_(True)}) == {"sequence_parallel": True}
    assert roofline.count("gpt2", fused="cross_entropy").train.fused == ("cross_entropy",)


def test_a_search_takes_arrays_as_choices():
    assert choices({"tp": np.array([1, 2]), "pp": pd.Series([4]), "dtype": ["bf16", "fp8"]}) == {
        "tp": (1, 2),
        "pp": (4,),
        "dtype": ("bf16", "fp8"),
    }


SCALARS = [np.int8(2), np.uint64(2), np.float32(2), np.array(2), np.array(2, dtype=np.int32), "2", 2.0]


@pytest.mark.parametrize("value", SCALARS, ids=lambda value: type(value).__name__)
def test_a_scalar_of_any_kind_is_the_number(value):
    train = of_one_run({"micro_batch": value})
    assert train == {"micro_batch": 2}
    assert type(train["micro_batch"]) is int


COLUMNS = {
    "list": [2048, 4096],
    "tuple": (2048, 4096),
    "text": ["2048", "4,096"],
    "Series": pd.Series([2048, 4096]),
    "nullable": pd.Series([2048, 4096], dtype="Int64"),
    "Index": pd.Index([2048, 4096]),
    **{name: np.array([2048, 4096], dtype=name) for name in ("int16", "int32", "int64", "uint64", "float32")},
}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_any_kind_equals_the_numbers_one_by_one(name):
    """FLOPs above 2^63: an int64 count of 2048 sequences of 8192 tokens wraps (4.3e19)."""
    together = roofline.estimate(MODEL, DEVICE, global_batch=COLUMNS[name], **LARGE)
    assert together.model_flops_per_step.dtype == np.float64
    for index, batch in enumerate((2048, 4096)):
        alone = roofline.estimate(MODEL, DEVICE, global_batch=batch, **LARGE)
        assert alone.model_flops_per_step > 2**63
        assert together.mfu[index] == pytest.approx(alone.mfu, rel=1e-12)
        assert together.step_time_s[index] == pytest.approx(alone.step_time_s, rel=1e-12)


def test_small_integers_do_not_wrap():
    sizes = np.array([1, 64, 127], dtype=np.int8)
    together = roofline.estimate("gpt2", DEVICE, micro_batch=sizes)
    alone = [roofline.estimate("gpt2", DEVICE, micro_batch=int(size)).step_time_s for size in sizes]
    assert together.step_time_s.tolist() == pytest.approx(alone, rel=1e-12)


def test_memory_takes_arrays():
    together = roofline.memory("gpt2", DEVICE, micro_batch=[1, 8, 256])
    alone = [roofline.memory("gpt2", DEVICE, micro_batch=size) for size in (1, 8, 256)]
    assert together.total_bytes.tolist() == [one.total_bytes for one in alone]
    assert together.fits.tolist() == [one.fits for one in alone]
    assert (together.max_micro_batch, together.fixes, together.explained) == (None, (), {})
    assert "3 configurations" in repr(together)
    assert len(together.to_frame()) == 3


REFUSED = {
    "object": np.array([1, None], dtype=object),
    "bool": np.array([True, False]),
    "complex": np.array([1j, 2]),
    "text": np.array(["1", "2"]),
    "dates": np.array(["2024-01-01"], dtype="datetime64[D]"),
    "masked": np.ma.masked_array([1, 2], mask=[False, True]),
    "missing": pd.Series([1, None], dtype="Int64"),
    "nan": np.array([1.0, np.nan]),
    "empty": np.array([]),
    "nothing": [],
    "ragged": [[1, 2], [3]],
    "booleans": [True, 2],
    "frame": pd.DataFrame({"a": [1]}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_numbers_is_refused_in_one_sentence(name):
    with pytest.raises(RooflineError, match=r"^micro_batch") as error:
        roofline.estimate("gpt2", DEVICE, micro_batch=REFUSED[name])
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_shapes_that_do_not_go_together_are_named():
    with pytest.raises(RooflineError, match=r"micro_batch \(2,\), seq_len \(3,\)"):
        roofline.estimate("gpt2", DEVICE, micro_batch=[1, 2], seq_len=[128, 256, 512])


@pytest.mark.parametrize("call", [roofline.mfu, roofline.infer], ids=lambda call: call.__name__)
def test_what_judges_one_run_takes_one(call):
    more = {"step_time_s": 1.0} if call is roofline.mfu else {"phase": "decode"}
    with pytest.raises(RooflineError, match=r"tp: .* has one value, not 2"):
        call("gpt2", DEVICE, tp=[1, 2], **more)


UNKNOWN = {
    "estimate": lambda **o: roofline.estimate("gpt2", DEVICE, **o),
    "memory": lambda **o: roofline.memory("gpt2", DEVICE, **o),
    "count": lambda **o: roofline.count("gpt2", **o),
    "compare": lambda **o: roofline.compare("gpt2", DEVICE, **o),
    "mfu": lambda **o: roofline.mfu("gpt2", DEVICE, **o),
    "infer": lambda **o: roofline.infer("gpt2", DEVICE, "decode", **o),
    "layouts": lambda **o: roofline.layouts("gpt2", DEVICE, **o),
    "plan": lambda **o: roofline.plan("gpt2", DEVICE, **o),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_keyword_is_named_with_its_nearest(name):
    with pytest.raises(RooflineError, match=r"unknown option 'micro_bach': did you mean 'micro_batch'"):
        UNKNOWN[name](micro_bach=8)


def test_a_functions_own_keywords_are_among_the_nearest():
    with pytest.raises(RooflineError, match="did you mean 'step_time_s'"):
        roofline.mfu("gpt2", DEVICE, step_tim=1.0)
    with pytest.raises(RooflineError, match="did you mean 'deadline_s'"):
        roofline.plan("gpt2", DEVICE, tokens="1B", deadline="30d")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wrong", [0, -1, np.inf, np.nan, 1e300])
@pytest.mark.parametrize("name", ["tp", "pp", "micro_batch", "network_gbit_per_s"])
def test_an_array_is_refused_as_its_worst_element_is(name, wrong):
    with pytest.raises(RooflineError, match=f"{name}: .* is out of range"):
        roofline.estimate("gpt2", DEVICE, **{name: np.array([1.0, wrong])})


def test_a_long_double_is_a_number_of_python():
    assert type(read("micro_batch", np.longdouble(4), units.positive_int)) is int
    assert type(roofline.estimate("gpt2", DEVICE, micro_batch=np.longdouble(4)).step_time_s) is float


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (
            lambda: roofline.layouts("gpt2", DEVICE, num_devices=10**18),
            "num_devices: .* give at most 1,000,000,000,000",
        ),
        (lambda: roofline.layouts("gpt2", DEVICE, micro_batch=np.array([2**63])), "micro_batch: .* is out of range"),
        (lambda: roofline.layouts("gpt2", DEVICE, pp_layout=np.str_("2")), "pp_layout is of one pipeline"),
        (lambda: roofline.plan("gpt2", DEVICE, tokens="1B", progress=3), "plan: progress must be a function, got 3"),
        (lambda: roofline.ladder(DEVICE, flops=1e24, progress=3), "ladder: progress must be a function, got 3"),
    ],
)
def test_what_a_search_cannot_take_is_one_sentence(ask, words):
    with pytest.raises(RooflineError, match=words):
        ask()
