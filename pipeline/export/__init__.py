"""Trained networks in the formats of other programs, and the model card that goes with them."""
