"""Training on an NVIDIA GPU: the definition's own formulas, on CuPy's arrays. Slow and simple."""
