"""The report and the drawing page, as self-contained HTML."""
