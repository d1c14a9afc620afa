"""Figures as functions of axes and data; the only place that imports matplotlib."""
