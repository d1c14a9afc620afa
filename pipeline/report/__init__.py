"""The report and the page to draw on, as self-contained HTML."""
