"""Training on an NVIDIA GPU: the formulas of the definition on CuPy arrays. Simple, not fast."""
