"""A page with live curves of the networks that are being trained."""
