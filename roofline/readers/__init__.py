"""Readers of the run files of training frameworks: one data file per framework, one engine."""
