"""Thresholds, null models and evidence: what a figure found in a suspect is worth."""
