"""Fully connected networks from scratch.

Start with the definition in plain NumPy: `initializers`, `activations`, `layers`, `losses`,
`network`, `gradients`, `optimizers`, `schedules`, `dropout`. It draws the initial weights, explains
single images and is the reference for the tests. Training runs in `compiled/` on CPUs and in `gpu/`
on GPUs; `devices` chooses between them. Then read `training`, `streaming`, `model_file`,
`prediction`.
"""
