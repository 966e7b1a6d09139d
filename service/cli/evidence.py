"""`signet evidence`: for an examiner, who has no gateway."""

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
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `signet ownership verify` wrote.")],
    trust: Annotated[
        Path | None,
        typer.Option(help="The issuer's public keys.", show_default="the home's, SIGNET_TRUST or pinned ones"),
    ] = None,
    suspect: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="safetensors: is it the file that was read?")
    ] = None,
) -> None:
    """Check evidence step by step, offline. Exit code 0: valid and verified; 1: valid, not verified; 2: not valid."""
    from signet_client import evidence

    options: Options = context.obj
    issuer, data = _issuer(options, trust), file.read_bytes()
    weights = None if suspect is None else suspect.read_bytes()
    steps: list[str] = []
    try:
        for holds, what in evidence.check(data, issuer, weights):
            if not holds:
                raise fail(f"({len(steps) + 1}) does not hold: {what}", 2)
            steps.append(what)
            if not options.as_json:
                say(f"({len(steps)}) {what}")
    except typer.Exit:
        raise
    except Exception:  # whatever a forged or damaged document makes of it
        raise fail(f"({len(steps) + 1}) {file} is no evidence document, or one that was damaged", 2) from None
    verdict = _verdict(data)
    if options.as_json:
        console.print_json(data={"valid": True, "verdict": verdict, "steps": steps})
    else:
        say(f"The evidence is valid: {verdict}.")
    raise typer.Exit(0 if verdict == "verified" else 1)


def _issuer(options: Options, path: Path | None) -> bytes:
    """The text of a .pub file."""
    from signet_client import NoTrustAnchor, trust

    own = options.settings.home / "issuer.pub"
    try:
        return trust.dump(trust.resolve(path or (own if own.exists() else None)))
    except NoTrustAnchor as error:
        raise fail(f"{error}; or name it with --trust", 2) from None


def _verdict(evidence: bytes) -> str:
    import json

    verdict: str = json.loads(evidence)["verdict"]
    return verdict
