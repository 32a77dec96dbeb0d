"""What a model is: its shape and parameters, and the readers of presets, families and ``config.json``."""
