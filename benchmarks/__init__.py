"""Benchmarks against other libraries, in alternating rounds of one run."""
