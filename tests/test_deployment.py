"""What sets up and packages the gateway, as far as it can be tried without a network or a container engine."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from sqlalchemy.engine import make_url

ROOT = Path(__file__).parents[1]


def test_a_virtual_environment_that_cannot_be_made_is_not_left_behind(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -m ] || exec {sys.executable} "$@"\nmkdir -p .venv/bin; touch .venv/bin/python; exit 1\n'
    )
    python.chmod(0o755)
    made = subprocess.run(  # noqa: S603 - our own Makefile
        ["make", ".venv/bin/python", f"PYTHON={python}"],  # noqa: S607
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 2
    assert "python3-venv" in made.stdout
    assert not (tmp_path / ".venv").exists()


def test_the_image_takes_arguments() -> None:
    image = (ROOT / "Dockerfile").read_text()
    entry, command = (json.loads(re.findall(rf"^{word} (.*)$", image, re.M)[-1]) for word in ("ENTRYPOINT", "CMD"))
    assert entry == ["signet"]
    assert command[0] == "serve"


def test_a_password_of_any_characters_goes_beside_the_databases_url() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    url = re.search(r"SIGNET_DATABASE_URL: (\S+)", compose)
    assert url is not None
    assert make_url(url[1]).password is None
    assert re.search(r"^ +PGPASSWORD: \$\{SIGNET_DB_PASSWORD\}", compose, re.M)  # which asyncpg reads
