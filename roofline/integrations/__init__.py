"""A `StepTimer` in the loops of training frameworks; each module imports its framework, and only where it is used."""
