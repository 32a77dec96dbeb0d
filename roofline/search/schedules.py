"""Pipeline schedules of a search: which are tried on a software profile, and the layouts that each of them runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ..config.run import TrainConfig
from ..config.schedules import pipeline_schedule
from ..config.stack import load_stack
from ..errors import RooflineError
from ..model.spec import ModelConfig
from .space import Choices, Space, space_of

Scheduled = list[tuple[str | None, Space]]  # layouts by pipeline schedule; None: the usual one


def schedules_of(choices: Choices, stack: str) -> tuple[str | None, ...]:
    """The schedules that a search tries on a software profile; None: its usual ones."""
    if choices.schedule == "all":
        return load_stack(stack).schedules or (None,)
    return choices.schedule or (None,)


def spaces_of(
    model: ModelConfig,
    train: TrainConfig,
    choices: Choices,
    domain: int,
    num_devices: Sequence[int],
    stacks: Iterable[str],
) -> tuple[dict[str, Scheduled], tuple[str, ...]]:
    """The consistent layouts by software profile and schedule, each layout once; and which schedules have none.

    For each of `stacks`, the software profiles; the other arguments are those of `space_of`.

    Raises:
        RooflineError: No layout is consistent under any schedule: why not under the first.
    """
    tried = {
        stack: [(name, _run_by(stack, choices, name)) for name in schedules_of(choices, stack)] for stack in stacks
    }
    spaces: dict[tuple[str | None, Choices], Space] = {}
    problems: dict[str | None, RooflineError] = {}
    for schedule, able in dict.fromkeys(each for names in tried.values() for each in names):
        scheduled = msgspec.structs.replace(train, schedule=schedule)
        try:
            spaces[schedule, able] = space_of(model, scheduled, able, domain, num_devices)
        except RooflineError as error:
            problems[schedule] = error
    if not spaces:
        raise next(iter(problems.values()))
    notes = tuple(f"no layout runs {schedule}: {error}" for schedule, error in problems.items() if schedule is not None)
    found = {stack: {each[0]: spaces[each] for each in names if each in spaces} for stack, names in tried.items()}
    return {stack: _once(each) for stack, each in found.items()}, notes


def _run_by(stack: str, choices: Choices, schedule: str | None) -> Choices:
    """The choices, with one stage (or chunk) where a profile has no schedule for more, and neither is asked for."""
    has = load_stack(stack).schedules
    limits: dict[str, tuple[int, ...]] = {} if has else {"pp": (1,)}
    limits |= {} if any(pipeline_schedule(name).divided for name in has) else {"vp": (1,)}
    limits = {name: one for name, one in limits.items() if schedule is None and getattr(choices, name) is None}
    return msgspec.structs.replace(choices, **limits)


def _once(spaces: Mapping[str | None, Space]) -> Scheduled:
    """Each layout once: schedules differ where there are several stages, 1f1b and interleaved where stages are virtual.

    Layouts of one stage stand under the usual schedule.
    """
    if len(spaces) < 2:
        return list(spaces.items())
    alone = (space.where(space.columns["pp"] == 1) for space in spaces.values())
    found: Scheduled = []
    found += [(None, space) for space in alone if len(space.consistent)][:1]
    for name, space in spaces.items():
        columns = space.columns
        of_one = pipeline_schedule(name).of_one_chunk if name is not None else None
        differs = columns["pp" if of_one is None or of_one not in spaces else "vp"] > 1
        found.append((name, space.where(differs)))
    return found
