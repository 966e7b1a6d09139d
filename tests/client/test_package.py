"""What installs alone must import alone."""

from __future__ import annotations

import subprocess
import sys

import signet_client

HEAVY = ("torch", "numpy", "PIL", "pydantic", "fastapi", "service", "models")


class TestImport:
    def test_the_root_names_what_a_licensee_needs(self) -> None:
        assert {"Client", "AsyncClient", "Prediction", "LicenseExpired", "pin"} <= set(signet_client.__all__)
        assert all(hasattr(signet_client, name) for name in signet_client.__all__)

    def test_it_brings_nothing_but_httpx_and_cryptography(self) -> None:
        script = f"import sys, signet_client; print([name for name in {HEAVY!r} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
        assert done.stdout.strip() == "[]"
