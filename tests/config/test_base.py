"""How a frozen base is stored: formats, what is assumed, what cannot be."""

import json

import pytest

import roofline
from roofline.config.base import base_dtypes, base_of, checkpoint_word, hands_out_fp32, upcast_of
from roofline.config.settle import settle, train_config
from roofline.config.stack import load_stack
from roofline.counting.step import build_step
from roofline.errors import RooflineError
from roofline.hardware import load_architecture, load_device

LLAMA_4BIT = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
}
# of Llama 3 8B: q, o [4096, 4096], k, v [4096, 1024], gate, up, down [4096, 14336] in each of 32 layers
LINEAR = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
TABLES = 2 * 128256 * 4096  # embedding and head


def run(**options):
    return settle(roofline.load_model("llama-3-8b"), None, options)


@pytest.fixture
def checkpoint(tmp_path):
    def write(**quantization):
        entry = {**LLAMA_4BIT["quantization_config"], **quantization}
        (tmp_path / "config.json").write_text(json.dumps({**LLAMA_4BIT, "quantization_config": entry}))
        return str(tmp_path)

    return write


@pytest.mark.parametrize(
    ("name", "double", "bits"),
    [
        ("nf4", True, 4 + 8 / 64 + 32 / (64 * 256)),  # arXiv:2305.14314, section 3: 0.127 bits of scales a weight
        ("nf4", False, 4 + 32 / 64),
        ("fp4", True, 4 + 8 / 64 + 32 / (64 * 256)),
        ("int8", None, 8),
        ("gptq", None, 4 + 20 / 128),
        ("awq", None, 4 + 20 / 128),
    ],
)
def test_bits_of_a_weight_with_its_scales(name, double, bits):
    options = {"train": "lora", "base_dtype": name} | ({} if double is None else {"double_quant": double})
    found = run(**options)
    stored = base_of(found.train, found.model)
    assert 8 * stored.bytes_per_weight("attention") == pytest.approx(bits)
    assert stored.bytes_per_weight("router") == stored.bytes_per_weight("logits") == 2


def test_qlora_is_nf4_quantised_twice_and_says_so():
    found = run(train="qlora", stack="eager")
    assert (found.train.base_dtype, found.train.double_quant, found.train.lora_rank) == ("nf4", True, 16)
    assert [note.split(" (--")[0] for note in found.assumed if note.startswith("assumed")] == [
        "assumed: a base in nf4",
        "assumed: scales of the nf4 base quantised as well",
        "assumed: adapters of rank 16",
    ]
    said = {"train": "qlora", "base_dtype": "fp4", "double_quant": False, "lora_rank": 8}
    assert run(**said, stack="eager").assumed == ()
    assert [note.split(", ")[0] for note in run(**said).assumed] == [
        "assumed: the hf-trainer profile",
        "assumed: norms of the base in fp32",
    ]
    assert run(train="lora", base_dtype="bf16", lora_rank=8).train.double_quant is False


@pytest.mark.parametrize(
    ("options", "upcast"),
    [
        ({"stack": "hf-trainer"}, "norms"),
        ({"stack": "hf-trainer", "sharding": "fsdp", "num_devices": 2}, "none"),
        ({"stack": "hf-trainer", "base_dtype": "int8"}, "norms"),
        ({"stack": "hf-trainer", "base_dtype": "gptq"}, "none"),  # PEFT leaves it as it is
        ({"stack": "hf-trainer", "base_upcast": "all"}, "all"),
        ({"stack": "axolotl"}, "none"),
        ({"stack": "hf-trainer", "train": "lora"}, "none"),
    ],
)
def test_what_software_casts_of_a_quantised_base(options, upcast):
    found = run(**{"train": "qlora", **options})
    assert upcast_of(found.train, load_stack(found.train.stack)) == upcast
    said = any("norms of the base in fp32, as hf-trainer prepares it" in note for note in found.assumed)
    assert said == (upcast == "norms")


@pytest.mark.parametrize(
    ("model", "options", "fp32"),
    [
        ("llama-3-8b", {"base_upcast": "norms"}, True),
        ("llama-3-8b", {"base_upcast": "none"}, False),
        ("llama-3-8b", {"base_upcast": "norms", "fused": ("norm",)}, False),  # a fused norm writes what it reads
        ("llama-3-8b", {"base_upcast": "norms", "dtype": "fp32"}, False),
        ("gpt2", {"base_upcast": "none"}, True),  # autocast runs layer norms in fp32
        ("gpt2", {"base_upcast": "none", "master_weights": False}, False),
        ("gpt2", {"base_upcast": "none", "stack": "torchtune"}, False),
        ("gpt2", {"base_dtype": "gptq"}, False),
    ],
)
def test_norms_hand_fp32_to_projections_that_return_it(model, options, fp32):
    step = build_step(
        roofline.load_model(model), train_config({"train": "qlora", "lora_rank": 8, "stack": "hf-trainer", **options})
    )
    assert hands_out_fp32(step.train, step.stack, step.model) == fp32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base_dtype": "nf4"}, "base_dtype nf4 with train 'full': .* use --train qlora or lora"),
        ({"train": "qlora", "base_dtype": "q4"}, "unknown base dtype 'q4' .*nf4, fp4, int8, gptq, awq, bf16"),
        ({"train": "qlora", "dtype": "fp8"}, "base_dtype nf4 with dtype fp8: .* use --dtype bf16"),
        ({"train": "lora", "double_quant": True}, "double_quant is of scales in blocks: .*nf4, fp4"),
        ({"train": "qlora", "base_dtype": "gptq", "double_quant": True}, "double_quant is of scales in blocks"),
        ({"train": "lora", "base_upcast": "norms"}, "base_upcast norms is of a base in nf4, fp4, int8: add"),
        ({"train": "qlora", "base_dtype": "gptq", "base_upcast": "all"}, "base_upcast all is of a base in nf4"),
        ({"train": "qlora", "base_upcast": "fp32"}, "unknown upcast of a base 'fp32' .allowed: none, norms, all"),
        (
            {"train": "qlora", "stack": "hf-trainer", "base_upcast": "norms", "sharding": "fsdp", "num_devices": 2},
            "refuses base_upcast norms with sharding fsdp: use --base-upcast none",
        ),
        ({"lora_dropout": 0.1}, "lora_dropout 0.1 without train 'lora': .*leave --lora-dropout out"),
        ({"lora_variant": "dora"}, "lora_variant 'dora' without train 'lora'"),
        ({"train": "lora", "lora_dropout": 1}, "lora_dropout: must be a probability from 0 to below 1, got 1"),
        ({"train": "lora", "lora_dropout": "x"}, "must be a probability"),
        ({"train": "lora", "lora_variant": "pissa"}, "unknown adapter variant 'pissa'"),
    ],
)
def test_what_cannot_be(options, words):
    with pytest.raises(RooflineError, match=words) as caught:
        run(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("device", "name", "words"),
    [
        ("tpu-v5p", "nf4", "bitsandbytes has no kernels for it on tpu-v5p .* use --train lora with a base in 16 bits"),
        ("v100-sxm2-32gb", "int8", "on v100-sxm2-32gb .* use nf4, fp4, gptq"),
    ],
)
def test_a_device_without_kernels_is_named(device, name, words):
    with pytest.raises(RooflineError, match=words):
        roofline.memory("llama-3-8b", device, train="qlora", base_dtype=name, micro_batch=1)


def test_formats_name_architectures_that_exist():
    for name, kind in base_dtypes().items():
        assert kind.source, name
        for architecture in kind.architectures:
            assert load_architecture(architecture).name
    assert load_device("h100-sxm-80gb").architecture in base_dtypes()["nf4"].architectures


def test_a_checkpoint_in_four_bits_is_counted_as_it_is(checkpoint):
    once, twice = 0.5 + 4 / 64, 0.5 + (8 + 32 / 256) / 64 / 8  # bytes of a weight: scales in fp32, or in 8 bits
    for entry, each in (({}, once), ({"bnb_4bit_use_double_quant": True}, twice)):
        for options in ({"train": "lora"}, {"train": "qlora"}, {}):
            found = roofline.memory(checkpoint(**entry), lora_rank=1, stack="nemo", micro_batch=1, **options)
            whole = LINEAR * each + 2 * TABLES
            assert found.train.base_dtype == "nf4"
            # beside it norms, and adapters of rank 1
            assert whole < found.weights_bytes < 1.002 * whole
    assert 5.6 < (LINEAR * once + 2 * TABLES) / 2**30 < 5.65


def test_a_checkpoint_in_four_bits_is_not_trained_in_full(checkpoint):
    with pytest.raises(RooflineError, match=r"the nf4 weights .* take no gradient: use --train qlora, or --base-dtype"):
        roofline.memory(checkpoint(), train="full", micro_batch=1)
    found = roofline.memory(checkpoint(), train="full", base_dtype="bf16", micro_batch=1)
    assert "the nf4 weights of the checkpoint are taken as bf16" in found.notes
    assert found.weights_bytes > 2 * LINEAR


def test_what_is_assumed_of_a_checkpoint(checkpoint):
    notes = roofline.memory(checkpoint(), micro_batch=1).notes
    assert "assumed: adapters over the nf4 weights of the checkpoint (--train)" in notes
    assert not any("scales" in note for note in notes)  # the checkpoint says


def test_a_checkpoint_in_fp8_is_counted_in_16_bits_and_says_so(tmp_path):
    entry = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (tmp_path / "config.json").write_text(json.dumps({**LLAMA_4BIT, "quantization_config": entry}))
    found = roofline.memory(str(tmp_path), train="lora", micro_batch=1)
    assert "the fp8 weights of the checkpoint are counted in bf16, dequantised" in found.notes
    assert found.weights_bytes > 2 * LINEAR


def test_words_of_checkpoints():
    words = {
        ("bitsandbytes", "nf4"): "nf4",
        ("bitsandbytes", "int8"): "int8",
        ("gptq", "int4"): "gptq",
        ("awq", "int4"): "awq",
        ("fp8", "fp8"): None,
    }
    for (method, dtype), word in words.items():
        assert checkpoint_word(roofline.model.spec.Quantization(method=method, dtype=dtype, bits=4)) == word


NF4 = (4 + 8 / 64 + 32 / 64 / 256) / 8  # bytes of a weight with its scales, quantised as well


@pytest.mark.parametrize(
    ("stack", "base", "upcast", "bytes_per_weight", "says"),
    [
        (
            "hf-trainer",
            "nf4",
            None,
            4,
            "experts stay in fp32 (--base-upcast)",
        ),  # prepare_model_for_kbit_training casts what is 16 bits
        ("hf-trainer", "nf4", "none", 2, "experts stay in bf16"),
        ("hf-trainer@4.57", "nf4", None, NF4, None),
        ("unsloth", "nf4", None, NF4, None),
        ("hf-trainer", "gptq", None, (4 + 20 / 128) / 8, None),
    ],
)
def test_bitsandbytes_leaves_experts_that_are_one_parameter(stack, base, upcast, bytes_per_weight, says):
    # a layer has 8 experts with three matrices of 4096 x 14336
    options = {"train": "qlora", "stack": stack, "base_dtype": base, "micro_batch": 1, "seq_len": 128}
    options |= {"base_upcast": upcast} if upcast else {}
    found = settle(roofline.load_model("mixtral-8x7b"), None, options)
    weights = build_step(found.model, found.train).weights
    held = sum(w.local * (w.stored_bytes or 2) for w in weights if w.expert and not w.trainable)
    assert held == pytest.approx(bytes_per_weight * 8 * 3 * 4096 * 14336)
    assert [note.split(":")[0] for note in found.assumed if note.startswith("experts")] == [says] * bool(says)
