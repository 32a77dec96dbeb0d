"""Our options as readers know them: which of what the files say are options, and in which words they are asked for."""

from __future__ import annotations

from typing import Any

from ..config.optimizer import optimizers
from ..config.recipes import recipes
from ..config.recompute import read_recompute
from ..config.run import TrainConfig
from ..errors import RooflineError, shown
from ..units import UnitError, positive_int, sequence_length
from .vocabulary import our_word

DETAILS = ("recompute_detail", "low_precision_recipe", "optimizer_detail")  # in JSON beside the coarse words
NUMBERS = (
    "num_devices",
    "devices_per_node",
    "micro_batch",
    "global_batch",
    "seq_len",
    "mean_len",
    "tp",
    "pp",
    "vp",
    "dp",
    "cp",
    "ep",
    "etp",
    "dp_shard",
    "replicas",
    "lora_rank",
    "accumulation",
    "accumulation_of_all",
)
FUSED = {"logits": "cross_entropy", "linear": "linear_cross_entropy"}  # what a loss fuses, as our fusions
STANDS_FOR = {  # what a file states in another way than ours
    "accumulation": "global_batch",
    "accumulation_of_all": "global_batch",
    "batch_per_device": "micro_batch",
    "replicas": "dp_shard",
    "fused_loss": "fused",
}
WORDS = {
    "model": "the model",
    "seq_len": "the sequence length",
    "micro_batch": "the micro batch",
    "global_batch": "the global batch",
}


def option_of(name: str) -> str:
    """What an error asks for in place of what a file says.

    >>> option_of("accumulation"), option_of("model")
    ('--global-batch', 'MODEL')
    """
    return "MODEL" if name == "model" else "--" + STANDS_FOR.get(name, name).replace("_", "-")


def numbers(said: dict[str, Any], where: str) -> tuple[dict[str, Any], list[str]]:
    """`said` with its counts as whole numbers, and a sentence where a unit was written (``4k``).

    Raises:
        RooflineError: A count that is none.
    """
    result, notes = dict(said), []
    for name in NUMBERS:
        value = said.get(name)
        if value is None:
            continue
        try:
            result[name] = _whole(name, value)
        except UnitError as error:
            raise RooflineError(f"{where}: {name}: {error}: mend the file, or give {option_of(name)}") from None
        if isinstance(value, str):
            notes.append(f"{name} is written {value!r}: read as {result[name]:,}")
    return result, notes


def _whole(name: str, value: Any) -> int:
    """A count, as a number or as people write one."""
    if isinstance(value, str):
        return sequence_length(value) if name in {"seq_len", "mean_len"} else positive_int(value)
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and value.is_integer())):
        raise UnitError(f"{shown(value)} is not a whole number")
    if value < 1:
        raise UnitError(f"{shown(value)} is below 1")
    return int(value)


def present(said: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The options of the configuration among what the files say, and a sentence on what is priced as another.

    Raises:
        RooflineError: An optimizer that is not modelled.
    """
    fields = TrainConfig.__struct_fields__
    options = {name: value for name, value in said.items() if value is not None and name in fields}
    notes = _recipe(options)
    detail = options.pop("recompute_detail", None)
    if detail is not None:  # one option says both, so that another on the command line takes the place of both
        options["recompute"] = read_recompute(detail)
    fusion = FUSED.get(str(said.get("fused_loss")))
    if fusion is not None:
        options["fused"] = (fusion,)
    optimizer = options.get("optimizer")
    if optimizer is not None and optimizer not in optimizers():
        raise RooflineError(f"optimizer {optimizer} is not modelled (--optimizer takes {', '.join(optimizers())})")
    return options, notes


def _recipe(options: dict[str, Any]) -> list[str]:
    """Put our word for a low-precision recipe in place of the file's, and its dtype; a sentence where we have none."""
    named = options.pop("low_precision_recipe", None)
    if options.get("dtype") == "fp4":
        options["dtype"] = "nvfp4"
    recipe = our_word("recipe", named)
    if recipe is None:
        return []
    if recipe not in recipes():
        return [f"the low-precision recipe {named} is priced as the stack's own"]
    options |= {"low_precision_recipe": recipe, "dtype": recipes()[recipe].dtype}
    return []
