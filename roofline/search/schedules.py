"""Pipeline schedules of a search: which are tried on a software profile, and the layouts that each of them runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ..config.run import TrainConfig
from ..config.stack import load_stack
from ..errors import RooflineError
from ..model.spec import ModelConfig
from .space import Choices, Space, space_of

Scheduled = list[tuple[str | None, Space]]  # layouts by pipeline schedule; None: the usual one


def schedules_of(choices: Choices, stack: str) -> tuple[str | None, ...]:
    """The schedules that a search tries on a software profile; None: 1f1b, interleaved with virtual stages."""
    if choices.schedule == "all":
        return load_stack(stack).schedules
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
    tried = {stack: schedules_of(choices, stack) for stack in stacks}
    spaces: dict[str | None, Space] = {}
    problems: dict[str | None, RooflineError] = {}
    for schedule in dict.fromkeys(name for names in tried.values() for name in names):
        scheduled = msgspec.structs.replace(train, schedule=schedule)
        try:
            spaces[schedule] = space_of(model, scheduled, choices, domain, num_devices)
        except RooflineError as error:
            problems[schedule] = error
    if not spaces:
        raise next(iter(problems.values()))
    notes = tuple(f"no layout runs {schedule}: {error}" for schedule, error in problems.items())
    found = {stack: {name: spaces[name] for name in names if name in spaces} for stack, names in tried.items()}
    return {stack: _once(each) for stack, each in found.items()}, notes


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
        differs = columns["vp"] > 1 if name == "interleaved" and "1f1b" in spaces else columns["pp"] > 1
        found.append((name, space.where(differs)))
    return found
