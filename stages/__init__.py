"""One command for each stage of dvc.yaml, run as `python -m stages.NAME`."""
