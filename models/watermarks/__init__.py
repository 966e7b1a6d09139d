"""Watermarks: digits or bits written into the weights, one scheme a folder or file."""
