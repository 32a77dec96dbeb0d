"""Our callback in Lightning: a stand-in of what it touches, and the real one where it is."""

from types import SimpleNamespace

import pytest

from .keys import KEYS


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
