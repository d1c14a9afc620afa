"""Measurements against named rivals, each in one run with alternating repeats."""
