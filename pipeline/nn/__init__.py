"""Fully connected networks from scratch.

The definition, in plain NumPy, to be read first: `initializers`, `activations`, `layers`, `losses`,
`network`, `gradients`, `optimizers`. It explains, draws and checks. What trains is held against it:
`compiled/` on processors, `gpu/` on GPUs; `devices` chooses. Then `training`, `streaming`,
`model_file`, `prediction`.
"""
