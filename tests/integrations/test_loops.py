"""Our callbacks in the loops of others: stand-ins of what they touch, and the real packages where those are there."""

import importlib
import sys
from itertools import count
from types import ModuleType, SimpleNamespace

import pytest

import roofline
from roofline.errors import RooflineError
from roofline.integrations.torchtitan import attach
from roofline.steptimer import StepTimer

KEYS = {"roofline/mfu", "roofline/expected_mfu_low", "roofline/expected_mfu_high", "roofline/remaining_s"}


@pytest.fixture
def stand_in(monkeypatch):
    """A module of ours with its framework's base class replaced by a plain one."""

    def make(name, framework, base):
        parts = framework.split(".")
        for depth in range(1, len(parts) + 1):
            module = ModuleType(".".join(parts[:depth]))
            module.__path__ = []
            monkeypatch.setitem(sys.modules, module.__name__, module)
        setattr(module, base, object)
        monkeypatch.delitem(sys.modules, f"roofline.integrations.{name}", raising=False)
        found = importlib.import_module(f"roofline.integrations.{name}")
        del sys.modules[f"roofline.integrations.{name}"]  # the next import is of the real one
        return found

    return make


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


def test_lightning_steps_where_the_optimizer_does(stand_in):
    module = stand_in("lightning", "lightning.pytorch", "Callback")
    callback = module.RooflineCallback("gpt2", "h100-sxm-80gb", micro_batch=2, seq_len=512)
    logged = []
    logger = SimpleNamespace(log_metrics=lambda metrics, step: logged.append((step, metrics)))
    trainer = SimpleNamespace(world_size=2, accumulate_grad_batches=3, estimated_stepping_batches=50, global_step=0)
    trainer.__dict__.update(log_every_n_steps=2, loggers=[logger], is_global_zero=True)
    callback.on_train_start(trainer, None)
    for batch in range(24):  # 8 optimizer steps
        trainer.global_step = (batch + 1) // 3
        callback.on_train_batch_end(trainer, None, None, None, batch)
    assert callback.timer.steps == 8
    assert [step for step, _ in logged] == [4, 6, 8]  # the first two are warm-up
    assert logged[-1][1].keys() >= {*KEYS, "train/device/mfu"}
    assert callback.timer.tokens_per_step == 2 * 2 * 3 * 512


class Processor:
    """What is used of torchtitan's MetricsProcessor."""

    def __init__(self):
        self.logged = []

    def should_log(self, step):
        return step % 2 == 0

    def log(self, step, loss, extra_metrics=None):
        self.logged.append((step, loss, extra_metrics))


def test_torchtitan_logs_what_to_expect_beside_its_own(capsys):
    processor = Processor()
    expected = roofline.estimate("llama-3-8b", "h100-sxm-80gb", num_devices=8, sharding="fsdp", stack="torchtitan")
    ticks = count(0, 60)
    timer = attach(processor, StepTimer.of(expected, total_steps=100, warmup=0, clock=lambda: next(ticks)))
    for step in range(1, 7):
        if processor.should_log(step):
            processor.log(step, 2.0, extra_metrics={"lr": 1e-4})
    assert timer.steps == 6
    assert [step for step, _, _ in processor.logged] == [2, 4, 6]
    assert processor.logged[-1][2].keys() >= {*KEYS, "lr"}
    assert timer.verdict() in capsys.readouterr().out


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


def test_the_real_lightning(tmp_path):
    torch = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.loggers import CSVLogger

    from roofline.integrations.lightning import RooflineCallback

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(16, 1)

        def training_step(self, batch, _index):
            return self.layer(batch).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=8,
        log_every_n_steps=4,
        accumulate_grad_batches=2,
        logger=CSVLogger(tmp_path),
        callbacks=[RooflineCallback("gpt2", "xeon-8480", micro_batch=2, seq_len=16)],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.ones(64, 16), batch_size=2))
    trainer.logger.save()
    text = (tmp_path / "lightning_logs" / "version_0" / "metrics.csv").read_text()
    assert "train/device/mfu" in text
    assert "roofline/expected_mfu_low" in text
