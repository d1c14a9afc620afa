"""What the pipeline survives: killed processes, full disks, read-only folders, company."""
