"""Cashfree's HMAC in the recipe that is agreed; others are only tried to say what would have fitted."""

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from recovery.proofs import (
    MILLISECONDS_FROM,
    Finding,
    Recipe,
    age,
    equal,
    key_bytes,
    not_fitting,
    number,
    told_age,
    written,
)
from recovery.rewritings import earlier_bodies
from recovery.saved import Saved


@dataclass(frozen=True, slots=True)
class _Claim:
    signature: str
    timestamp: str
    body: bytes
    key: str

    def fits(self, recipe: Recipe, *, key: bytes | None = None, body: bytes | None = None) -> bool:
        """Whether the signature fits in this recipe, with a part exchanged for what may have been taken."""
        using = self.key.encode(errors="surrogatepass") if key is None else key
        signed = recipe.sign(using, self.body if body is None else body, self.timestamp)
        return equal(signed, self.signature)


def judge(saved: Saved, key: str, recipe: Recipe, at: datetime) -> list[Finding]:
    """Whether Cashfree's HMAC, in this recipe, proves the body. Its timestamp's age is told, not judged."""
    signature, timestamp = saved.header("x-webhook-signature"), saved.header("x-webhook-timestamp") or ""
    if not signature:
        return [Finding("signature", False, "there is no x-webhook-signature")]
    claim = _Claim(signature, timestamp, saved.body, key)
    told = [Finding("timestamp", True, _age(timestamp, at))] if timestamp else []
    if recipe.covers_timestamp and not timestamp:
        told = [Finding("timestamp", False, f"{recipe} covers x-webhook-timestamp, and there is none")]
    if claim.fits(recipe):
        return [*told, Finding("signature", True, f"it fits as {recipe}")]
    return [*told, *not_fitting("signature", list(_mistakes(claim, recipe)))]


def _age(timestamp: str, at: datetime) -> str:
    read = number(timestamp)
    if read is None:
        return "x-webhook-timestamp is no number, which is not judged"
    return f"{told_age(age(read if read >= MILLISECONDS_FROM else read * 1000, at))}, which is not judged"


def _mistakes(claim: _Claim, agreed: Recipe) -> Iterator[str]:
    if equal(claim.key, claim.signature):
        yield "x-webhook-signature is the key itself, as FlexyPe does it"
    for recipe in Recipe:
        yield from _other_recipe(claim, recipe, agreed)
    digest = hmac.digest(claim.key.encode(errors="surrogatepass"), claim.body, hashlib.sha512)
    if any(equal(written(digest, in_hex=in_hex), claim.signature) for in_hex in (False, True)):
        yield "it was made with SHA-512, not SHA-256"
    yield from _other_body(claim, agreed)


def _other_recipe(claim: _Claim, recipe: Recipe, agreed: Recipe) -> Iterator[str]:
    if recipe != agreed and claim.fits(recipe):
        yield f"it would have fitted as {recipe}"
    in_small = _Claim(claim.signature.lower(), claim.timestamp, claim.body, claim.key)
    if in_small.fits(recipe) and not claim.fits(recipe):
        yield f"it would have fitted as {recipe} in small letters"
    decoded = key_bytes(claim.key)
    if decoded and claim.fits(recipe, key=decoded):
        yield f"it would have fitted as {recipe} with the key's base64 decoded"
    if recipe.covers_timestamp and claim.timestamp and claim.fits(recipe, body=b"." + claim.body):
        yield f"it would have fitted as {recipe} with a dot between timestamp and body"


def _other_body(claim: _Claim, agreed: Recipe) -> Iterator[str]:
    for recipe in (agreed, *(one for one in Recipe if one != agreed)):
        for told, earlier in earlier_bodies(claim.body):
            if claim.fits(recipe, body=earlier):
                also = "" if recipe == agreed else f", as {recipe}"
                yield f"the body was re-serialised on the way: it was signed {told}{also}"
                return
