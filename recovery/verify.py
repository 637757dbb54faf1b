"""`recovery verify`: judges a saved request offline. Asks neither the stack nor AWS."""

from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from recovery import moments, proof_cashfree, proof_flexype, proof_standard, proofs, saved
from recovery.asked import asked_for
from recovery.failure import Failure
from recovery.proofs import Finding, Recipe, Scheme
from recovery.session import Session, command

HeadersFile = Annotated[
    Path,
    typer.Option(
        "--headers",
        metavar="FILE",
        help="The request's headers, as curl -i or -v shows them, or as a JSON object.",
    ),
]
BodyFile = Annotated[Path, typer.Option("--body", metavar="FILE", help="The body's raw bytes.")]
Key = Annotated[
    str | None,
    typer.Option(
        envvar="RECOVERY_KEY",
        show_default=False,
        help="The webhook key or secret, which this leaves in the shell's history. RECOVERY_KEY, or the "
        "prompt or stdin that are read without it or for -, do not.",
    ),
]
SchemeOption = Annotated[
    Scheme | None, typer.Option("--scheme", help="What is to fit; without it, all that the headers carry.")
]
RecipeOption = Annotated[Recipe, typer.Option("--recipe", help="How Cashfree is agreed to sign.")]
At = Annotated[
    datetime | None,
    typer.Option(
        parser=moments.moment,
        metavar="TIME",
        help="Judge as at this time, for example when it came; now without it.",
    ),
]
Tolerance = Annotated[
    timedelta, typer.Option(parser=moments.length, metavar="LENGTH", help="How far off a timestamp may be.")
]
_FIVE_MINUTES = timedelta(minutes=5)


def add(app: typer.Typer) -> None:
    command(
        app,
        "verify",
        examples="recovery verify --headers headers.txt --body body.json\n"
        "recovery verify --headers headers.txt --body body.json --at 2026-11-22T10:00Z < key.txt\n"
        "recovery verify --headers headers.txt --body body.json --scheme cashfree --recipe hex_body",
    )(verify)


def verify(
    session: Session,
    headers: HeadersFile,
    body: BodyFile,
    scheme: SchemeOption = None,
    recipe: RecipeOption = Recipe.BASE64_BODY,
    at: At = None,
    tolerance: Tolerance = _FIVE_MINUTES,
    key: Key = None,
) -> None:
    """Judge a saved request: a Standard Webhooks signature, Cashfree's HMAC or FlexyPe's token.

    Says what does not fit, and where it can be known, what would have. Exit code 1 if anything does not.
    """
    request = saved.load(headers, body)
    schemes = [scheme] if scheme else proofs.schemes_of(request)
    if not schemes:
        names = ", ".join(proofs.HEADERS.values())
        raise Failure(f"The headers carry no proof that is known here: {names}.")
    secret = _secret(key)
    judged = {one: _judge(one, request, secret, recipe, at or moments.now(), tolerance) for one in schemes}
    is_proven = all(finding.fits for findings in judged.values() for finding in findings)
    _tell(session, judged, is_proven)
    if not is_proven:
        raise typer.Exit(1)


def _secret(key: str | None) -> str:
    secret = asked_for(key or None, "Key")
    if not secret:
        raise Failure("There is no key: stdin, RECOVERY_KEY or --key.")
    return secret


def _judge(
    scheme: Scheme, request: saved.Saved, key: str, recipe: Recipe, at: datetime, tolerance: timedelta
) -> list[Finding]:
    if scheme is Scheme.STANDARD:
        return proof_standard.judge(request, key, at, tolerance)
    if scheme is Scheme.CASHFREE:
        return proof_cashfree.judge(request, key, recipe, at)
    return proof_flexype.judge(request, key)


def _tell(session: Session, judged: dict[Scheme, list[Finding]], is_proven: bool) -> None:
    if session.screen.as_json:
        told = {
            scheme.value: [asdict(finding) for finding in findings] for scheme, findings in judged.items()
        }
        session.screen.document({"fits": is_proven, "findings": told})
        return
    for scheme, findings in judged.items():
        for finding in findings:
            session.screen.say(
                f"{'fits' if finding.fits else 'DOES NOT FIT'}  {scheme} {finding.check}: {finding.says}"
            )
