"""Our callback in the Trainer of Hugging Face: a stand-in of what it touches, and the real one where it is."""

from types import SimpleNamespace

import pytest

from roofline.errors import RooflineError

from .keys import KEYS


def arguments(**changed):
    given = {"per_device_train_batch_size": 2, "world_size": 4, "gradient_accumulation_steps": 3, "bf16": True}
    given |= {"fp16": False, "gradient_checkpointing": False, "max_steps": 20}
    return SimpleNamespace(**{**given, **changed})


def log_of(callback, steps=5):
    """What a Trainer would log after some steps."""
    state = SimpleNamespace(max_steps=20, log_history=[{"loss": 1.0}], is_world_process_zero=True)
    callback.on_train_begin(arguments(), state, None)
    for _ in range(steps):
        callback.on_step_end(arguments(), state, None)
    logs = {"loss": 1.0}
    callback.on_log(arguments(), state, None, logs=logs)
    assert logs.keys() == state.log_history[-1].keys()
    return logs


def test_a_trainer_logs_what_is_and_what_to_expect(stand_in, capsys):
    callback = stand_in("huggingface", "transformers", "TrainerCallback").RooflineCallback(
        "h100-sxm-80gb", seq_len=512, model="gpt2"
    )
    assert log_of(callback).keys() >= KEYS
    assert capsys.readouterr().out.startswith("step 5/20 | ")
    train = callback.timer.expected.train
    assert (train.micro_batch, train.num_devices, train.global_batch, train.dtype) == (2, 4, 24, "bf16")


@pytest.mark.parametrize(
    ("changed", "dtype", "expected"),
    [
        ({"bf16": False}, "torch.float32", {"dtype": "fp32"}),
        ({"bf16": False, "tf32": True}, "torch.float32", {"dtype": "tf32"}),
        ({"bf16": False, "fp16": True}, "torch.float32", {"dtype": "fp16"}),
        ({"bf16": False}, "torch.bfloat16", {"dtype": "bf16", "master_weights": False}),
        ({"gradient_checkpointing": True}, "torch.float32", {"dtype": "bf16", "recompute": "full"}),
        ({"max_length": 1024}, "torch.float32", {"seq_len": 1024}),
    ],
)
def test_what_arguments_say_of_a_run(stand_in, changed, dtype, expected):
    said = stand_in("huggingface", "transformers", "TrainerCallback").said
    assert expected.items() <= said(arguments(**changed), SimpleNamespace(dtype=dtype)).items()


def test_a_trainer_without_a_length_or_a_device_asks(stand_in):
    callback = stand_in("huggingface", "transformers", "TrainerCallback").RooflineCallback
    with pytest.raises(TypeError, match="device"):
        callback(seq_len=512)
    with pytest.raises(RooflineError, match="seq_len"):
        log_of(callback("h100-sxm-80gb", model="gpt2"))
    with pytest.raises(RooflineError, match="no-such-card"):
        log_of(callback("no-such-card", model="gpt2", seq_len=512))


def test_the_real_trainer(tmp_path):
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from roofline.integrations.huggingface import RooflineCallback

    config = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=64, n_positions=16)
    rows = [{"input_ids": list(range(16)), "labels": list(range(16))} for _ in range(48)]
    given = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "max_steps": 8, "logging_steps": 4}
    trainer = transformers.Trainer(
        model=transformers.GPT2LMHeadModel(config),
        args=transformers.TrainingArguments(tmp_path, use_cpu=True, report_to=[], save_strategy="no", **given),
        train_dataset=rows,
        callbacks=[RooflineCallback("xeon-8480", seq_len=16)],
    )
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "roofline/mfu" in entry]
    assert [entry["step"] for entry in logged] == [4, 8]
    assert logged[-1].keys() >= KEYS
    assert logged[-1]["roofline/remaining_s"] == 0
