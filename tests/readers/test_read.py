"""A run file as model and options, in each framework's form: an answer, a word missing, one that cannot run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from roofline.errors import RooflineError
from roofline.readers.read import read_run

from .run_files import AXOLOTL, TITAN

Write = Callable[[str, str], Path]

MEGATRON = """
MODEL_ARGS:
  --tensor-model-parallel-size: 2
  --pipeline-model-parallel-size: 4
  --num-layers-per-virtual-pipeline-stage: 1
  --sequence-parallel: true
  --use-distributed-optimizer: true
  --num-layers: 16
  --hidden-size: 512
  --num-attention-heads: 8
  --seq-length: 1024
  --max-position-embeddings: 1024
  --micro-batch-size: 2
  --global-batch-size: 64
  --vocab-size: 1000
  --bf16: true
  --recompute-granularity: selective
"""


def test_torchtitan(write: Write) -> None:
    run = read_run(write("run.toml", TITAN))
    assert run.model is not None and run.model.name == "llama-3.1-8b"
    # 16 devices = tp 2 x dp 8; global batch 2 x 8
    wanted = {"num_devices": 16, "tp": 2, "dp": 8, "micro_batch": 2, "global_batch": 16, "seq_len": 4096}
    wanted |= {
        "sharding": "fsdp",
        "recompute": "full",
        "sequence_parallel": True,
        "dtype": "bf16",
        "optimizer": "adamw",
    }
    assert wanted.items() <= run.options.items()
    assert run.report.framework == "torchtitan"
    assert {(key.key, key.value, key.option) for key in run.report.read} >= {
        ("training.local_batch_size", 2, "micro_batch"),
        ("training.seq_len", 4096, "seq_len"),
    }
    assert "optimizer.name = AdamW (torchtitan's default)" in run.report.assumed
    assert run.report.ignored == ["training.steps"] and run.report.not_understood == []


def test_the_command_line_overrides_and_says_so(write: Write) -> None:
    run = read_run(write("run.toml", TITAN), given={"num_devices": 32, "micro_batch": 4})
    assert (run.options["dp"], run.options["global_batch"]) == (16, 64)
    assert "--num-devices 32 overrides 16 of the file" in run.notes
    assert "--micro-batch 4 overrides 2 of the file" in run.notes


def test_torchtitan_that_cannot_run(write: Write) -> None:
    text = TITAN.replace("tensor_parallel_degree = 2", "tensor_parallel_degree = 3")
    with pytest.raises(RooflineError, match="cannot run as written: 16 devices for tp 3.*--num-devices 18"):
        read_run(write("run.toml", text))


def test_megatron(write: Write) -> None:
    run = read_run(write("run.yaml", MEGATRON), given={"num_devices": 16})
    assert run.model is not None and (run.model.n_layers, run.model.d_model, run.model.vocab_size) == (16, 512, 1000)
    # 16 layers over 4 stages in chunks of 1: 4 virtual stages; dp = 16 / (2 * 4)
    wanted = {"tp": 2, "pp": 4, "vp": 4, "dp": 2, "micro_batch": 2, "global_batch": 64, "seq_len": 1024}
    wanted |= {
        "sharding": "zero1",
        "recompute": "selective",
        "sequence_parallel": True,
        "attention": "te",
        "stack": "nemo",
    }
    assert wanted.items() <= run.options.items()


@pytest.mark.parametrize(
    ("keys", "layout"),
    [
        ("--decoder-first-pipeline-num-layers: 3\n  --decoder-last-pipeline-num-layers: 3", "3,5,5,3"),
        ("--num-layers-in-first-pipeline-stage: 1", "1,5,5,5"),
        ("--pipeline-model-parallel-layout: Et*3|(t*5|)*2t*3,mL", "Et*3|(t*5|)*2t*3,L"),
        ("--account-for-embedding-in-pipeline-split: true\n  --num-layers: 15", "3,4,4,4"),
    ],
)
def test_megatrons_own_stages(write: Write, keys: str, layout: str) -> None:
    text = MEGATRON.replace("--num-layers-per-virtual-pipeline-stage: 1", keys)
    text = text.replace("  --num-layers: 16\n", "") if "--num-layers: 15" in keys else text
    run = read_run(write("run.yaml", text), given={"num_devices": 16})
    assert (run.options["pp"], run.options["vp"], run.options["pp_layout"]) == (4, 1, layout)


def test_stages_that_megatron_refuses(write: Write) -> None:
    keys = "--decoder-first-pipeline-num-layers: 3"  # 13 layers over three stages
    text = MEGATRON.replace("--num-layers-per-virtual-pipeline-stage: 1", keys)
    with pytest.raises(RooflineError, match="cannot run as written: 16 layers with 3 on the first of 4 pipeline"):
        read_run(write("run.yaml", text), given={"num_devices": 16})


def test_megatron_without_a_batch(write: Write) -> None:
    text = "\n".join(line for line in MEGATRON.splitlines() if "batch-size" not in line)
    with pytest.raises(RooflineError, match="does not say the micro batch: add --micro-batch"):
        read_run(write("run.yaml", text))


def test_megatron_with_a_batch_that_nothing_sets(write: Write) -> None:
    text = MEGATRON.replace("global-batch-size: 64", "global-batch-size: ${GBS}")
    with pytest.raises(
        RooflineError, match=r"global_batch_size is \$\{GBS\}, and nothing sets GBS: give --global-batch"
    ):
        read_run(write("run.yaml", text))
    assert read_run(write("run.yaml", text), given={"global_batch": 32}).options["global_batch"] == 32


def test_megatron_with_unequal_stages(write: Write) -> None:
    text = MEGATRON.replace("--num-layers: 16", "--num-layers: 18")
    with pytest.raises(RooflineError, match="cannot run as written: 18 layers over pp 4"):
        read_run(write("run.yaml", text))


def test_megatron_on_too_few_devices(write: Write) -> None:
    script = """
    ARGS="--num-layers 8 --hidden-size 64 --num-attention-heads 4 --seq-length 128 --micro-batch-size 1"
    torchrun --nproc_per_node 8 --nnodes 1 pretrain_gpt.py $ARGS --tensor-model-parallel-size 8 \\
        --pipeline-model-parallel-size 4 --fp16 --vocab-size 100 --max-position-embeddings 128
    """
    path = write("run.sh", script)
    with pytest.raises(
        RooflineError, match=r"8 devices for tp 8 x pp 4, which take a multiple of 32: add --num-devices 32"
    ):
        read_run(path)
    assert read_run(path, given={"num_devices": 64}).options["dp"] == 2


def test_axolotl(write: Write) -> None:
    run = read_run(write("run.yml", AXOLOTL), given={"num_devices": 4})
    assert run.model is not None and run.model.name == "llama-3-8b"
    wanted = {"micro_batch": 2, "global_batch": 32, "seq_len": 4096, "train": "lora", "lora_rank": 32}  # 2 * 4 * 4
    wanted |= {"lora_modules": "all", "optimizer": "adamw-8bit", "recompute": "full", "sharding": "none"}
    assert wanted.items() <= run.options.items()
    assert run.said["base_dtype"] == "int8"


def test_axolotl_with_deepspeed_as_it_ships(write: Write) -> None:
    run = read_run(write("run.yml", AXOLOTL + "deepspeed: deepspeed_configs/zero2.json\n"))
    assert (run.options["sharding"], run.said["offload"]) == ("zero2", "optimizer")
    assert any("taken as axolotl ships it" in note for note in run.notes)


def test_axolotl_with_an_optimizer_that_is_not_modelled(write: Write) -> None:
    with pytest.raises(RooflineError, match="optimizer lomo is not modelled"):
        read_run(write("run.yml", AXOLOTL.replace("adamw_bnb_8bit", "lomo")))


@pytest.mark.parametrize(("said", "read"), [("fp32", "fp32"), ("bf16", "bf16"), ("half", "fp16")])
def test_deepspeed_says_what_gradients_are_summed_in(write: Write, said: str, read: str) -> None:
    write("zero.json", f'{{"zero_optimization": {{"stage": 2}}, "data_types": {{"grad_accum_dtype": "{said}"}}}}')
    run = read_run(write("run.yml", AXOLOTL + "deepspeed: zero.json\n"))
    assert run.options["gradient_dtype"] == read


def test_deepspeed_alone_needs_a_model(write: Write) -> None:
    path = write(
        "ds.json", '{"train_batch_size": 64, "train_micro_batch_size_per_gpu": 4, "zero_optimization": {"stage": 2}}'
    )
    with pytest.raises(RooflineError, match="does not say the model.*roofline COMMAND MODEL --with ds.json"):
        read_run(path)
    run = read_run(path, model="gpt2", given={"seq_len": 512, "num_devices": 8})
    # 64 = 4 x accumulation 2 x 8
    assert {"micro_batch": 4, "global_batch": 64, "dp": 8, "sharding": "zero2"}.items() <= run.options.items()


def test_a_trainer_with_its_launcher(write: Write) -> None:
    launcher = write(
        "accelerate.yaml",
        "compute_environment: LOCAL_MACHINE\ndistributed_type: DEEPSPEED\nnum_processes: 4\nmixed_precision: bf16\n"
        "deepspeed_config: {zero_stage: 3, offload_optimizer_device: none}\n",
    )
    text = """
    model_name_or_path: mistralai/Mistral-7B-v0.1
    per_device_train_batch_size: 8
    gradient_accumulation_steps: 2
    max_seq_length: 2048
    bf16: true
    torch_dtype: bfloat16
    gradient_checkpointing: true
    packing: true
    """
    path = write("sft.yaml", text)
    run = read_run(path, more=[launcher])
    wanted = {"num_devices": 4, "dp": 4, "micro_batch": 8, "global_batch": 64, "sharding": "zero3", "recompute": "full"}
    assert wanted.items() <= run.options.items()
    assert read_run(path, given={"num_devices": 1}).options["master_weights"] is False


def test_a_key_that_sizes_something_and_is_not_known_is_refused(write: Write) -> None:
    with pytest.raises(RooflineError, match="training.expert_batch_size = 7 is not understood"):
        read_run(write("run.toml", TITAN.replace("steps = 10", "steps = 10\nexpert_batch_size = 7")))


def test_a_key_that_is_not_known_is_listed(write: Write) -> None:
    run = read_run(write("run.toml", TITAN.replace("steps = 10", "frobnicate = 7")))
    assert run.report.not_understood == ["training.frobnicate"]


def test_a_unit_is_read_and_said(write: Write) -> None:
    run = read_run(write("run.toml", TITAN.replace("seq_len = 4096", 'seq_len = "4k"')))
    assert run.options["seq_len"] == 4096
    assert any("'4k': read as 4,096" in note for note in run.notes)


def test_nonsense_is_one_line(write: Write) -> None:
    with pytest.raises(RooflineError, match="micro_batch: .*many.*give --micro-batch"):
        read_run(write("run.toml", TITAN.replace("local_batch_size = 2", 'local_batch_size = "many"')))


def test_the_arguments_a_run_printed(write: Write) -> None:
    dump = """
    using world size: 16, data-parallel size: 4, context-parallel size: 1
    ------------------------ arguments ------------------------
      add_bias_linear ................................. False
      attention_dropout ............................... 0.0
      bf16 ............................................ True
      data_parallel_size .............................. 4
      encoder_num_layers .............................. 8
      encoder_seq_length .............................. 1024
      ffn_hidden_size ................................. 256
      fp16 ............................................ False
      fp8 ............................................. None
      global_batch_size ............................... 64
      group_query_attention ........................... False
      hidden_dropout .................................. 0.0
      hidden_size ..................................... 64
      img_h ........................................... 224
      max_position_embeddings ......................... 1024
      micro_batch_size ................................ 2
      moe_router_topk ................................. 2
      num_attention_heads ............................. 8
      num_experts ..................................... None
      num_layers ...................................... 8
      num_query_groups ................................ 1
      padded_vocab_size ............................... 1024
      pipeline_model_parallel_size .................... 2
      recompute_granularity ........................... None
      retro_num_neighbors ............................. 2
      seq_length ...................................... 1024
      sequence_parallel ............................... True
      swiglu .......................................... False
      tensor_model_parallel_size ...................... 2
      transformer_impl ................................ transformer_engine
      use_distributed_optimizer ....................... True
      vision_backbone_type ............................ vit
      world_size ...................................... 16
    -------------------- end of arguments ---------------------
    """
    run = read_run(write("run.log", dump))
    wanted = {"num_devices": 16, "tp": 2, "pp": 2, "dp": 4, "micro_batch": 2, "global_batch": 64, "seq_len": 1024}
    wanted |= {"sharding": "zero1", "sequence_parallel": True, "recompute": "none", "dtype": "bf16"}
    assert wanted.items() <= run.options.items()
    assert run.model is not None
    assert (run.model.n_layers, run.model.vocab_size) == (8, 1024)
    assert run.report.not_understood == []


def test_a_trainer_in_a_launch_script(write: Write) -> None:
    write("ds.json", '{"zero_optimization": {"stage": 2}, "bf16": {"enabled": true}}')
    script = """
    torchrun --nproc_per_node 8 --nnodes 2 train.py --model_name_or_path meta-llama/Meta-Llama-3-8B \\
        --per_device_train_batch_size 2 --gradient_accumulation_steps 4 --learning_rate 1e-5 --max_length 2048 \\
        --bf16 True \\
        --gradient_checkpointing True --deepspeed ds.json --output_dir $OUT
    """
    run = read_run(write("run.sh", script))
    wanted = {"num_devices": 16, "micro_batch": 2, "global_batch": 128, "seq_len": 2048, "sharding": "zero2"}
    assert wanted.items() <= run.options.items()
