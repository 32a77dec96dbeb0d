"""The best parallel layouts of a training, of all that are consistent."""
