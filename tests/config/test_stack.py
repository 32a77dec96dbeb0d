"""Software profiles: every file, and files that cannot be read."""

import re
import tomllib

import pytest

from roofline.config.settle import train_config
from roofline.config.stack import load_stack, stack_names, stack_of_software
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.model.load import load_model
from roofline.reading import packaged

GOOD = 'name = "mine"\nsummary = "My code"\nsource = "my own measurements"\n'


@pytest.fixture
def stack_file(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.parametrize("name", stack_names())
def test_every_profile_loads_and_says_where_it_is_from(name):
    stack = load_stack(name)
    assert stack.name == name
    assert len(stack.summary) > 20
    assert len(stack.source) > 20
    assert all(0 <= share <= 1 for share in (getattr(stack.overlap, f) for f in stack.overlap.__struct_fields__))
    assert 0 < stack.efficiency <= 1
    assert 0 < stack.spread < 1
    assert all(word == word.lower() for word in stack.software)


OF_SOURCE = {
    "fused",
    "launch",
    "overlap",
    "releases",
    "shardings",
    "trains",
    "versions",
}  # what the one `source` stands for
LABELS = {"name", "summary", "software", "source", "sources"}


@pytest.mark.parametrize("name", stack_names())
def test_whatever_a_profile_states_names_its_file_and_option(name):
    text = (packaged(load_stack.__module__, "stacks") / f"{name}.toml").read_text(encoding="utf-8")
    stated = tomllib.loads(text)
    sources = stated["sources"]
    assert set(sources) == set(stated) - OF_SOURCE - LABELS
    for source in sources.values():  # a file of a repository, a paper or script, or an assumption that says so
        assert re.match(r"assumes |arXiv:|scripts/maintain/|(github:)?[\w.-]+/[\w.-]+(@\w{12})? ", source), source
    expected = {field for field in ("efficiency", "dispatch_us", "host_us") if stated.get(field)}
    assert expected <= set(sources)


def test_no_two_profiles_claim_one_software():
    words = [word for name in stack_names() for word in load_stack(name).software]
    assert len(words) == len(set(words))


def test_a_file_of_ones_own(stack_file):
    path = stack_file(GOOD + 'fused = ["norm"]\n[overlap]\ndata = 0.5\n')
    step = build_step(load_model("llama-3.2-1b"), train_config({"stack": path}))
    assert step.stack.name == "mine"
    assert next(op for op in step.ops if op.name == "mlp.norm").kernels == 1
    assert step.stack.overlap.data == 0.5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ("name",)),
        (GOOD.replace("source", "where"), ("where",)),
        (GOOD + 'launch = "fast"\n', ("launch",)),
        (GOOD + 'fused = ["everything"]\n', ("fused",)),
        (GOOD + 'spread = "wide"\n', ("spread",)),
        (GOOD + "[overlap]\npipe = 0.5\n", ("pipe",)),
        ("name = ", ("mine.toml",)),
    ],
)
def test_a_bad_file_is_one_line_with_file_and_key(stack_file, text, words):
    path = stack_file(text)
    with pytest.raises(RooflineError) as error:
        load_stack(path)
    message = str(error.value)
    assert path in message
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_a_profile_as_of_a_release():
    new, old = load_stack("nemo"), load_stack("nemo@26.04.01")
    assert new.fused - old.fused == {"expert_epilogue"}
    assert load_stack("nemo@26.06").fused == load_stack("nemo@26.06.01").fused == new.fused
    assert old.name == "nemo@26.04.01"


def test_a_profile_as_of_a_version():
    # what a release changed was so until then: of transformers 4.45 all three, of 4.48 what came with 4.50 and 5.0
    names = ("loss_upcasts", "loss_shifts", "loss_frees_logits", "reentrant_recompute")
    releases = {version: load_stack(f"hf-trainer@{version}") for version in ("4.45.2", "4.46", "4.49.0", "4.57", "5.1")}
    facts = {version: tuple(getattr(stack, name) for name in names) for version, stack in releases.items()}
    assert facts == {
        "4.45.2": ("rotary", True, True, True),
        "4.46": ("rotary", True, False, True),
        "4.49.0": ("rotary", True, False, True),
        "4.57": ("all", False, False, True),
        "5.1": ("all", False, False, False),
    }


def test_a_trainer_before_pytorch_2():
    names = ("keeps_gradients", "foreach", "loads_all_kernels", "softmax_keeps_scores")
    facts = {
        version: tuple(getattr(load_stack(f"hf-trainer@{version}"), name) for name in names)
        for version in ("4.17", "4.18", "4.26.1", "4.27")
    }
    assert facts == {
        "4.17": (True, False, True, True),  # PyTorch 1.10
        "4.18": (True, False, True, False),  # 1.11
        "4.26.1": (True, False, False, False),  # 1.13
        "4.27": (False, True, False, False),  # 2.0
    }


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf-trainer@4", "a release is its version, as in hf-trainer@4.48"),
        ("nemo@new", "a release is its year and month, as in nemo@26.04"),
        ("nemo@26.13", "a release is its year and month"),
        ("nemo@", "a release is its year and month"),
        ("eager@26.04", "eager has no dated variants, use eager"),
        ("nemmo@26.04", "did you mean 'nemo'"),
    ],
)
def test_a_release_that_is_none(name, words):
    with pytest.raises(RooflineError, match=words):
        load_stack(name)


def test_every_release_says_where_it_is_from():
    releases = [each for name in stack_names() for each in load_stack(name).releases]
    assert releases
    assert all((each.brought or each.before) and len(each.source) > 20 for each in releases)


def test_a_missing_file_and_an_unknown_name(tmp_path):
    with pytest.raises(RooflineError, match=r"none\.toml"):
        load_stack(str(tmp_path / "none.toml"))
    with pytest.raises(RooflineError, match="did you mean 'megatron'"):
        load_stack("megatrn")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Megatron-DeepSpeed 0.3", "deepspeed"),  # the longer name wins over megatron
        ("Megatron-LM v2", "megatron"),
        ("NeMo 24.07", "nemo"),
        ("llm-foundry/Composer FSDP (torch 2.1)", "composer"),
        ("MaxText", "jax"),
        ("NeMo AutoModel 0.4", "automodel"),
        ("Primus (Megatron backend)", "primus"),
        ("rocm/megatron-lm v25.5", "primus"),
        ("PyTorch/XLA 2.6", "torch-xla"),
        ("in-house", None),
    ],
)
def test_software_has_a_profile(words, expected):
    assert stack_of_software(words) == expected


@pytest.mark.parametrize(
    ("stack", "dtype", "expected"),
    [("megatron", "bf16", 4), ("megatron", "fp16", 2), ("jax", "bf16", 2), ("jax", "fp32", 4), ("compiled", "fp16", 4)],
)
def test_gradients_are_summed_in(stack, dtype, expected):
    activations = train_config({"dtype": dtype}).activation_bytes
    assert load_stack(stack).gradient_bytes(dtype, activations) == expected


def test_fusions_on_top_of_the_stack():
    def kernels(**options):
        step = build_step(load_model("llama-3.2-1b"), train_config({"stack": "eager", **options}))
        return sum(op.kernels * op.count for op in step.ops)

    assert kernels(fused=("norm", "rotary")) < kernels(fused=("norm",)) < kernels()
