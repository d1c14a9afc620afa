"""Experiment tracking with DVCLive, Weights & Biases or MLflow, as chosen in params.yaml."""
