"""The table of optimizers: bytes and products of a matrix by hand, words, what software refuses."""

import pytest

from roofline.config.optimizer import _table, coarse_word, optimizer, optimizers, plain
from roofline.config.settle import settle
from roofline.config.sharding import SHARDINGS
from roofline.config.stack import stack_names
from roofline.errors import RooflineError
from roofline.model.load import load_model


@pytest.mark.parametrize("name", optimizers())
def test_a_row_points_at_rows_and_a_source(name):
    row = optimizer(name)
    assert "arXiv" in row.source or "github" in row.source or "documentation" in row.source
    assert coarse_word(name) in optimizers()
    assert optimizer(row.rest).takes == "all"  # what is left is left to one that takes everything
    assert row.passes >= row.fused_passes >= 1


@pytest.mark.parametrize(
    ("spelt", "name"),
    [
        ("adamw-32bit-paged", "adamw-paged"),
        ("adamw-8bit (torchao)", "adamw-8bit"),
        ("adamw-4bit (torchao)", "adamw-4bit"),
        ("adamw-fp8 (torchao)", "adamw-fp8"),
        ("adamw (Transformer Engine FusedAdam)", "adamw-fused"),
        ("adamw schedule-free", "adamw-schedule-free"),
        ("lamb / lars", "lamb"),
        ("muon (Moonshot, distributed)", "muon"),
        ("muon (torch.optim.Muon)", "muon"),
        ("sophia / diag-hessian", "sophia"),
        ("adamw_torch_fused", "adamw-fused"),  # words of Hugging Face's optim
        ("adamw_bnb_8bit", "adamw-8bit"),
        ("paged_adamw_8bit", "adamw-8bit-paged"),
        ("paged_adamw_32bit", "adamw-paged"),
        ("galore_adamw", "galore"),
        ("AdamW8bit", "adamw-8bit"),  # a class
        ("mcore_distributed_optim", "adamw-fused"),
    ],
)
def test_names_that_others_have_are_read(spelt, name):
    assert settle(load_model("gpt2"), None, {"optimizer": spelt}).train.optimizer == name


def test_a_name_means_one_optimizer():
    words = [plain(word) for name, row in optimizers().items() for word in (name, *row.also)]
    assert len(words) == len(set(words))
    assert not {plain(word) for word in _table().elsewhere} & set(words)


@pytest.mark.parametrize(
    ("spelt", "options"),
    [
        ("adamw cpu offload", "--optimizer adamw --offload optimizer"),
        ("DeepSpeedCPUAdam", "--optimizer adamw --offload optimizer"),
        ("adamw (Transformer Engine FusedAdam, precision aware)", "--moment-dtype"),
        ("adamw (Transformer Engine FusedAdam, store_param_remainders)", "--master-dtype split"),
    ],
)
def test_a_name_that_says_more_names_the_options(spelt, options):
    with pytest.raises(RooflineError, match=f"says more than an optimizer: use .*{options}"):
        settle(load_model("gpt2"), None, {"optimizer": spelt})


def test_what_software_refuses_exists():
    for row in _table().refused:
        assert set(row.optimizers) <= set(optimizers())
        assert set(row.stacks) <= set(stack_names())
        assert set(row.shardings) <= set(SHARDINGS)


@pytest.mark.parametrize(
    ("name", "elements", "expected"),
    [
        ("adamw", 10**6, 4),
        ("adamw-8bit", 10**6, 1 + 4 / 256),
        ("adamw-8bit", 4095, 4),  # bitsandbytes: min_8bit_size
        ("adamw-4bit", 4096, 0.5 + 4 / 128),
        ("adamw-paged", 10**6, 4),
    ],
)
def test_bytes_of_a_number(name, elements, expected):
    assert optimizer(name).stored_bytes(4, elements) == expected
    assert optimizer("lion").stored_bytes(2, elements) == 2  # the dtype of the moments


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("muon", (3, 5), 15 * 4),
        ("adafactor", (3, 5), (3 + 5) * 4),
        ("soap", (5, 3), (2 * 15 + 2 * (9 + 25)) * 4),
        ("soap", (3, 10_001), (2 * 3 * 10_001 + 2 * 9) * 4),  # a side beyond 10,000 keeps the identity
        ("shampoo", (3, 5), (2 * 15 + 2 * (9 + 25)) * 4),
        ("galore", (512, 1024), (2 * 256 * 1024 + 256 * 512) * 4),
        ("apollo", (1024, 512), 2 * 256 * 1024 * 4),
        ("apollo", (7, 11), 2 * 7 * 11 * 4),  # no more ranks than rows
        ("apollo-mini", (512, 1024), 2 * 1024 * 4),
    ],
)
def test_state_of_a_matrix(name, shape, expected):
    assert optimizer(name).matrix_bytes(4, *shape) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("muon", 20 * 3**2 * 5 + 10 * 3**3),  # five steps of 4 m^2 n + 2 m^3
        ("soap", 8 * 3 * 5 * (3 + 5) + 0.6 * (3**3 + 5**3)),
        ("shampoo", 4 * 3 * 5 * (3 + 5) + 0.5 * (3**3 + 5**3)),
        ("galore", 4 * 3 * 5 * 3 + 14 / 200 * 3**2 * 5),
        ("apollo", 2 * 3 * 5 * 3),
        ("adamw", 0),
    ],
)
@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_products_of_a_matrix(name, shape, expected):
    flops = sum(2 * m * n * k * times for m, n, k, times in optimizer(name).products(*shape))
    assert flops == pytest.approx(expected)


def test_a_side_beyond_the_limit_takes_no_part():
    products = [each for each in optimizer("soap").products(4, 20_000) if each[3]]
    assert all(sides.count(4) >= 2 for *sides, _ in products)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"optimizer": "muon", "num_devices": 8, "stack": "fsdp"},
            "optimizer muon with sharding fsdp of fsdp: .*torchtitan",
        ),
        ({"optimizer": "adamw-8bit", "num_devices": 8, "stack": "nemo"}, "zero1 of nemo: .*--moment-dtype"),
        ({"optimizer": "galore", "num_devices": 8, "stack": "deepspeed"}, "--sharding none"),
        ({"optimizer": "galore", "num_devices": 8, "stack": "hf-trainer", "sharding": "zero2"}, "ZeRO flattens"),
        ({"optimizer": "adamv"}, "did you mean 'adamw'"),
        ({"optimizer": "lomo"}, "unknown optimizer 'lomo'.*adafactor"),
    ],
)
def test_what_cannot_run_names_what_does(options, words):
    with pytest.raises(RooflineError, match=words):
        settle(load_model("gpt2"), None, options)


KERNELS = {
    "adamw-8bit",
    "adamw-8bit-paged",
    "adamw-paged",
    "adamw-fp8",
    "adamw-4bit",
    "lion-8bit",
}  # CUDA's and the like


@pytest.mark.parametrize("name", optimizers())
@pytest.mark.parametrize("stack", ["eager", "compiled", "torchtitan", "jax"])
def test_the_rest_runs(name, stack):
    if stack == "jax" and name in KERNELS:
        with pytest.raises(RooflineError, match="no kernels there; use --optimizer adamw"):
            settle(load_model("gpt2"), None, {"optimizer": name, "stack": stack})
        return
    assert (
        settle(load_model("gpt2"), None, {"optimizer": name, "num_devices": 8, "stack": stack}).train.optimizer == name
    )
