"""Experiments that DVC recorded, compared on one page."""
