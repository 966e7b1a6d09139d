"""A license from where its holder keeps it: a path, or the license file's text or bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from signet_client import license_file, trust
from signet_client.license_file import BEGIN, LicenseFile
from signet_client.trust import Trust

LicenseSource: TypeAlias = str | os.PathLike[str] | bytes


def read_license(source: LicenseSource, trusted: Trust | None = None) -> LicenseFile:
    """The license, checked against the trust anchor (see `signet_client.trust`).

    Raises:
        LicenseFileInvalid, UntrustedIssuer, NoTrustAnchor: it cannot be believed.
        OSError: the license file cannot be read.
    """
    if isinstance(source, str) and source.startswith(BEGIN):
        text: str | bytes = source
    elif isinstance(source, bytes):
        text = source
    else:
        with Path(source).open("rb") as file:
            text = file.read(license_file.SIZE_LIMIT + 1)
    return license_file.decode(text, trust.resolve(trusted))
