"""Sweeps by the million: every combination of models, devices and options, streamed to a file."""
