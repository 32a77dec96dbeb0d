"""Answers as HTML: small pieces without script, in light and dark, for notebooks and pages."""
