"""How a training is laid out, in a few words: what errors, notes and tables say alike."""

from __future__ import annotations

from .run import TrainConfig
from .schedules import pipeline_schedule
from .stack import load_stack


def schedule_run(train: TrainConfig) -> str | None:
    """The schedule that a complete configuration of one layout runs; None where there is one stage."""
    if train.pp == 1 or train.schedule is None:
        return None
    alone = pipeline_schedule(train.schedule).of_one_chunk if train.vp == 1 else None
    return alone or train.schedule


def layout_words(train: TrainConfig) -> str:
    """Devices and how the work is split over them: ``64 devices: tp 8 x pp 4 x dp 2, zero1``."""
    if train.num_devices == 1:
        return "1 device"
    degrees = ("tp", "pp", "cp", "dp")
    split = " x ".join(f"{name} {getattr(train, name)}" for name in degrees if getattr(train, name) != 1)
    extras = [f"{train.vp} virtual stages"] if train.vp != 1 else []
    if schedule_run(train) not in {None, load_stack(train.stack).usual_schedule(train.vp)}:
        extras += [f"{train.schedule} schedule"]
    extras += [f"layers {train.pp_layout}"] if train.pp_layout not in {None, "even"} else []
    extras += [f"experts over {train.ep}"] if train.ep != 1 else []
    extras += [f"etp {train.etp}"] if train.etp not in {None, train.usual_etp} else []
    within = "" if train.dp_shard is None else f" within {train.dp_shard}"
    extras += [train.sharding + within] if train.sharding != "none" else []
    extras += ["sequence parallel"] if train.sequence_parallel else []
    return ", ".join([f"{train.num_devices:,} devices: {split}", *extras])
