"""What a run tells an experiment tracker: DVCLive, Weights & Biases or MLflow, by choice."""
