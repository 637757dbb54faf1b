"""Phone numbers: kept as they were given, with the E.164 form where there is one."""

import functools

import phonenumbers
from pydantic import BaseModel, ConfigDict


class Phone(BaseModel):
    """A shopper's number.

    Half-typed numbers are kept too: `e164` is then None, and `number` is what was typed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: str
    """As the provider gave it, often without a country code."""
    dial_code: str | None = None
    """The country's calling code as given, for example ``91`` or ``+91``."""
    e164: str | None = None
    """``+919876543210``, or None where no numbering plan knows the number."""

    @classmethod
    def of(cls, number: str, dial_code: str | None = None, international: str | None = None) -> "Phone":
        """Builds a phone; `international` is the provider's own full form, where it sends one."""
        return cls(number=number, dial_code=dial_code, e164=_e164(number, dial_code, international))

    def completed_by(self, other: "Phone") -> "Phone":
        """Adds what another telling of the same number knew of it: a dial code once told is not lost."""
        if _digits(self.number) != _digits(other.number):
            return self
        dial_code, e164 = self.dial_code or other.dial_code, self.e164 or other.e164
        if (dial_code, e164) == (self.dial_code, self.e164):
            return self
        return self.model_copy(update={"dial_code": dial_code, "e164": e164})

    @property
    def country_code(self) -> str | None:
        """The calling code's digits, as given or else read from the number."""
        if self.dial_code:
            return self.dial_code.lstrip("+")
        return str(phonenumbers.parse(self.e164).country_code) if self.e164 else None


def _digits(number: str) -> str:
    return "".join(filter(str.isdigit, number))


@functools.lru_cache(maxsize=1024)
def _e164(number: str, dial_code: str | None, international: str | None) -> str | None:
    code = (dial_code or "").strip().lstrip("+")
    candidates = [international or "", number]
    if code.isdigit():
        # Some senders repeat the dial code inside the number: try it as it stands last.
        candidates += [f"+{code}{number}", f"+{number}"]
    for candidate in candidates:
        if candidate.strip().startswith("+") and (e164 := _valid(candidate)):
            return e164
    return None


def _valid(candidate: str) -> str | None:
    try:
        parsed = phonenumbers.parse(candidate)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
