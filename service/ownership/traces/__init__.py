"""Traces: whose student a suspect is."""
