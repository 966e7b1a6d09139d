"""Fingerprints: adversarial examples near the boundary that name a licensee; the network itself is not touched."""
