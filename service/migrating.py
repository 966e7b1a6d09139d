"""Bringing the database to the present schema, from the CLI and from tests."""

from pathlib import Path

from alembic import command
from alembic.config import Config

import service


def migrations_folder() -> Path:
    """`migrations/` of the checkout, or of the installed wheel."""
    package = Path(service.__file__).parent
    installed = package / "migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def migrate(database_url: str) -> None:
    """Upgrade to the newest revision; does nothing when it is there already."""
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))  # the option interpolates
    config.attributes["database_url"] = database_url
    command.upgrade(config, "head")
