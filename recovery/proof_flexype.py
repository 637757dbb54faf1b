"""FlexyPe's token: the merchant's secret itself. It proves the sender, and covers no byte of the body."""

from recovery.proofs import Finding, Recipe, equal, from_base64
from recovery.saved import Saved


def judge(saved: Saved, key: str) -> list[Finding]:
    """Whether the header is the merchant's secret."""
    given = saved.header("x-flexype-authorization")
    if not given:
        return [Finding("token", False, "there is no X-Flexype-Authorization")]
    if equal(key, given):
        return [Finding("token", True, "it is the secret; it says nothing of the body or its age")]
    found = [told for told, is_so in _mistakes(saved, key, given).items() if is_so]
    return [Finding("token", False, told) for told in found or ["it is another secret"]]


def _mistakes(saved: Saved, key: str, given: str) -> dict[str, bool]:
    encoded = key.encode(errors="surrogatepass")
    mistakes = {
        "the key that was given has spaces around it": given == key.strip(),
        "it is the secret in other capitals": given.casefold() == key.casefold(),
        "it is the secret after the word Bearer": given.removeprefix("Bearer ") == key,
        "it is the secret in base64": from_base64(given) == encoded,
        "it is only the beginning of the secret": key.startswith(given),
    }
    return mistakes | {
        f"it is an HMAC of the body ({recipe}), which FlexyPe does not document": equal(
            recipe.sign(encoded, saved.body), given
        )
        for recipe in Recipe
        if not recipe.covers_timestamp
    }
