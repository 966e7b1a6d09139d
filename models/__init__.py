"""The models side: networks, data, training, fingerprints and decoys. PyTorch only; it knows no web and no database."""
