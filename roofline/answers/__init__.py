"""The answers to a user's questions: how fast, does it fit, why slow, what to change."""
