"""Compare what we say a model has beside its language model with the classes of transformers, weightless.

    python scripts/maintain/compare_towers.py [MODEL_TYPE ...]

Needs the `torch` extra.
"""

from __future__ import annotations

import sys

from roofline.model.towers import parameters_beside, table
from roofline.tracing.architecture import build


def main(names: list[str]) -> int:
    """Print both counts for each type; 1 where any differs."""
    differ = 0
    for name in names or sorted(table().models):
        built = build({"model_type": name}, name)
        config = built.module.config.to_dict()
        parts = built.module.named_parameters()
        theirs = sum(p.numel() for path, p in parts if "language_model" not in path and not path.startswith("lm_head"))
        ours = parameters_beside(config, config["text_config"]["hidden_size"])
        differ += ours != theirs
        print(f"{name:<16}{theirs:>16,}{ours or 0:>16,}  {'equal' if ours == theirs else 'DIFFERS'}")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
