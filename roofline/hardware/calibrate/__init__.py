"""Measures this machine and makes a device file of it."""
