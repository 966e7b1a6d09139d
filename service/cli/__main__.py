"""`python -m service.cli`, the same as `signet`: how it starts itself in another process."""

from service.cli.main import app

app(prog_name="signet")
