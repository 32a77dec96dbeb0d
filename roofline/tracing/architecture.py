"""A ``config.json`` built with the classes of transformers on the meta device: a module to trace, and its inputs.

No weights are made and nothing is fetched; code that comes with a repository is never run. Only this module imports
transformers, in functions.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..errors import RooflineError, shown
from ..model import recognise
from ..reading import read_text
from . import inputs
from .trace import LARGEST_REAL, import_torch

_DEPTH = 4  # of modules that are listed by their parts
_AT_RANDOM = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop")


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A module with example inputs.

    Attributes:
        module: The `torch.nn.Module`, on the meta device.
        choices: Its keyword inputs, the likeliest first: integers with values, the rest shapes.
        parameters: All its parameters; tied weights count once.
        by_module: Those of each part of it; what two parts share counts with the first.
        source: Which class it is, of which version of transformers.
    """

    module: Any
    choices: tuple[dict[str, Any], ...]
    parameters: int
    by_module: dict[str, int]
    source: str

    @property
    def small(self) -> bool:
        """Whether it is small enough to run on real numbers."""
        return self.parameters <= LARGEST_REAL


def available() -> bool:
    """Whether torch and transformers are installed."""
    from importlib.util import find_spec

    return find_spec("torch") is not None and find_spec("transformers") is not None


def read(path: str) -> tuple[Mapping[str, Any], str]:
    """The object in a ``config.json``, or in that of a folder, and where it is."""
    from ..model.huggingface import decode

    file = Path(path, "config.json") if Path(path).is_dir() else Path(path)
    return decode(read_text(file, "model"), str(file)), str(file)


def build(
    config: Mapping[str, Any], where: str, *, batch: int = 1, seq_len: int | None = None, real: bool = False
) -> Built:
    """The architecture of a config, with `batch` examples of `seq_len` tokens (or an image, or a second of sound).

    With `real`, module and inputs hold numbers: for a forward pass that looks at values.

    Raises:
        RooflineError: torch or transformers is missing, or transformers cannot build it: its own reason, shortened.
    """
    torch, transformers = import_torch(), _import_transformers()
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
    config = recognise.typed(config, known)
    model_type = config.get("model_type")
    if model_type not in known:
        raise RooflineError(
            f"{where}: transformers {transformers.__version__} has no models of type {shown(str(model_type))} "
            "(code that comes with a repository is not run): a .toml of flat keys describes a decoder, "
            "a size such as 7B a plain one"
        )
    try:
        fields = {key: value for key, value in config.items() if key not in {"auto_map", "quantization_config"}}
        settings = known[model_type].from_dict(fields)
        device = "cpu" if real else "meta"
        module = _instance(torch, transformers, settings, config.get("architectures"), device)
    except RooflineError:
        raise
    except Exception as error:  # a class can raise anything
        raise RooflineError(f"{where}: transformers cannot build it: {_short(error)}") from error
    choices = inputs.choices(torch, module, settings, batch, seq_len)
    return Built(
        module=module,
        choices=tuple(_with_numbers(torch, choice) if real else choice for choice in choices),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        by_module=_by_module(module),
        source=f"{type(module).__name__} of transformers {transformers.__version__}",
    )


def _with_numbers(torch: Any, choice: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs with numbers where they were shapes."""
    return {
        name: torch.randn(value.shape) if getattr(value, "is_meta", False) else value for name, value in choice.items()
    }


def _by_module(module: Any) -> dict[str, int]:
    """Parameters of the parts of a module, a part with nine tenths of them by its own parts."""
    sums: dict[str, int] = {}
    parameters = {name: parameter.numel() for name, parameter in module.named_parameters()}
    total, depth = sum(parameters.values()), 1
    while depth < _DEPTH:
        sums = {}
        for name, count in parameters.items():
            part = ".".join(name.split(".")[:depth])
            sums[part] = sums.get(part, 0) + count
        if max(sums.values(), default=0) <= total * 0.9:
            break
        depth += 1
    return sums


def _import_transformers() -> Any:
    """The transformers package, told to stay off the network."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        import transformers
    except ImportError as error:
        raise RooflineError("tracing a config.json needs transformers: pip install 'roofline[torch]'") from error
    return transformers


def _instance(torch: Any, transformers: Any, settings: Any, architectures: Any, device: str) -> Any:
    """The model on a device: the class that the config names, else the most complete one that there is."""
    names = architectures if isinstance(architectures, list) else []
    classes = [getattr(transformers, name) for name in names if isinstance(name, str) and hasattr(transformers, name)]
    auto = transformers.models.auto.modeling_auto
    pairs = [auto.AutoModelForSeq2SeqLM, auto.AutoModelForSpeechSeq2Seq]
    language = [auto.AutoModelForImageTextToText, auto.AutoModelForCausalLM, auto.AutoModelForMaskedLM]
    choices = [*pairs, *language] if settings.is_encoder_decoder else [*language, *pairs]
    for field in _AT_RANDOM:
        if getattr(settings, field, None):
            setattr(settings, field, 0.0)
    inputs.name_token(settings)
    settings.apply_spec_augment = False  # of speech models, which mask where it is not said
    refusals: list[AttributeError] = []
    with torch.device(device):
        for cls in classes:
            if hasattr(cls, "_from_config"):
                return _options(settings, cls._from_config)
        makers = [
            choice.from_config
            for choice in (*choices, auto.AutoModelForTextToWaveform, auto.AutoModel)
            if type(settings) in choice._model_mapping  # noqa: SLF001 (the only way to ask)
        ]
        for make in (*makers, _of_part(torch, settings)):
            try:
                if make is not None:
                    return _options(settings, make)
            except AttributeError as error:  # made for another configuration: of the decoder alone, say
                refusals.append(error)
    if refusals:
        raise refusals[0]
    raise RooflineError(f"transformers has a configuration of type {settings.model_type!r}, and no model for it")


def _of_part(torch: Any, settings: Any) -> Any:
    """What makes a part that no auto class knows (a tower, a decoder): the class beside its configuration.

    Of several a model of its own comes first, then a plain module that is made from the configuration.
    """
    from importlib import import_module

    try:
        module = import_module(type(settings).__module__.replace(".configuration_", ".modeling_"))
    except ImportError:
        return None
    own = [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__]
    models = [
        cls for cls in own if getattr(cls, "config_class", None) is type(settings) and "PreTrained" not in cls.__name__
    ]
    if models:
        best: Any = max(models, key=lambda cls: ("For" in cls.__name__, cls.__name__.endswith("Model")))
        return best._from_config  # noqa: SLF001
    stem = type(settings).__name__.removesuffix("Config")
    return next((cls for cls in own if cls.__name__ == stem and issubclass(cls, torch.nn.Module)), None)


def _options(settings: Any, make: Any) -> Any:
    """The model, its experts as grouped matmuls where it has any: a loop over them would ask for values."""
    for options in ({"experts_implementation": "grouped_mm"}, {}):
        try:
            module = make(copy.deepcopy(settings), **options)  # a refused option stays in the settings
        except (TypeError, ValueError):
            if not options:
                raise
            continue
        module.train()
        return module
    raise AssertionError  # the last try returns or raises


def _short(error: Exception) -> str:
    """The first line of an error, no longer than a line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}{'...' if len(text) > 160 else ''}"
