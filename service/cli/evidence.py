"""`signet evidence`: for an examiner, who has no gateway."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from service.cli.api import Options, console, fail, say

app = typer.Typer(help="Check signed evidence.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Check signed evidence."""


@app.command()
def check(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="What `signet ownership verify` or `trace` wrote.")
    ],
    trust: Annotated[
        Path | None,
        typer.Option(help="The issuer's public keys.", show_default="the home's, SIGNET_TRUST or pinned ones"),
    ] = None,
    suspect: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="safetensors: also read its digits, or a mark's signs, here, where they can be.",
        ),
    ] = None,
) -> None:
    """Check evidence step by step, offline. Exit code 0: valid, verified or named; 1: valid, and not; 2: not valid."""
    import signet_client.evidence
    import signet_client.suspect
    import signet_client.trace

    options: Options = context.obj
    data, steps = file.read_bytes(), _Steps(file, quiet=options.as_json)
    unread = None
    if _format(data) == signet_client.trace.TRACE:
        weights = None if suspect is None else suspect.read_bytes()
        steps.take(signet_client.trace.check(data, _issuer(options, trust), weights))
    else:
        steps.take(signet_client.evidence.check(data, _issuer(options, trust)))
    if suspect is not None and _format(data) != signet_client.trace.TRACE:
        try:
            steps.take(signet_client.suspect.check(data, suspect.read_bytes()))
        except signet_client.suspect.NotRead as reason:
            unread = f"the suspect's digits are the issuer's word: {reason}"
    verdict = _verdict(data)
    if options.as_json:
        console.print_json(data={"valid": True, "verdict": verdict, "steps": steps.taken, "not_read": unread})
    else:
        if unread:
            say(f"NOT READ HERE: {unread}")
        say(f"The evidence is valid: {verdict}.")
    raise typer.Exit(0 if verdict in ("verified", "named") else 1)


class _Steps:
    """What holds, said one by one; the first that does not ends the command."""

    def __init__(self, file: Path, *, quiet: bool) -> None:
        self.taken: list[str] = []
        self._file, self._quiet = file, quiet

    def take(self, steps: Iterator[tuple[bool, str]]) -> None:
        from signet_client.suspect import NotRead

        try:
            for holds, what in steps:
                if not holds:
                    raise fail(f"({len(self.taken) + 1}) does not hold: {what}", 2)
                self.taken.append(what)
                if not self._quiet:
                    say(f"({len(self.taken)}) {what}")
        except (typer.Exit, NotRead):
            raise
        except Exception:  # whatever a forged or damaged document makes of it
            words = f"{self._file} is no evidence document, or one that was damaged"
            raise fail(f"({len(self.taken) + 1}) {words}", 2) from None


def _issuer(options: Options, path: Path | None) -> bytes:
    """The text of a .pub file."""
    from signet_client import NoTrustAnchor, trust

    own = options.settings.home / "issuer.pub"
    try:
        return trust.dump(trust.resolve(path or (own if own.exists() else None)))
    except NoTrustAnchor as error:
        raise fail(f"{error}; or name it with --trust", 2) from None


def _format(evidence: bytes) -> object:
    """What a document says that it is; None for what is none."""
    import json

    try:
        content = json.loads(evidence)
    except (ValueError, RecursionError):
        return None
    return content.get("format") if isinstance(content, dict) else None


def _verdict(evidence: bytes) -> str:
    import json

    verdict: str = json.loads(evidence)["verdict"]
    return verdict
