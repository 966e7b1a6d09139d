"""Deep Serial Number, measured."""
