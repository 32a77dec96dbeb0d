"""Whole runs: tokens, devices, deadline and cost."""
