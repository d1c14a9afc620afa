"""Fully connected networks from scratch.

Reading order: `backend`, `initializers`, `activations`, `layers`, `losses`, `network`, `gradients`,
`optimizers`, `parallel`, `training`, `streaming`, `model_file`, `prediction`.
"""
