"""ActiveGuard, measured: fingerprints and codewords, marks and ownership, and the engines they run on."""
