"""Students: networks distilled from a version for serial numbers."""
