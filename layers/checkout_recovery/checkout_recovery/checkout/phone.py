"""Phone numbers: kept as they were given, with the E.164 form where there is one."""
# ruff: noqa: PLC0415 - phonenumbers is 59 modules, and only ingest can be sure to read a number

import functools

from pydantic import BaseModel, ConfigDict

_NATIONAL_DIGITS = 10
"""Longer than this, a number told without a country may yet begin with one."""


class Phone(BaseModel):
    """A shopper's number.

    Half-typed numbers are kept too: `e164` is then None, and `number` is what was typed.
    """

    model_config = ConfigDict(defer_build=True, frozen=True, extra="forbid")

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

    @property
    def is_whole(self) -> bool:
        """Whether its country was told with it."""
        return self.dial_code is not None or self.e164 is not None

    def bare(self) -> "Phone":
        """The number as it was typed, without its country."""
        return Phone(number=self.number)

    def completed_by(self, whole: "Phone") -> "Phone":
        """Takes the country from another telling of the same number; of another number, it could be wrong."""
        if self.is_whole or not _is_same_number(self.number, whole):
            return self
        return self.model_copy(update={"dial_code": whole.dial_code, "e164": whole.e164})

    def national_numbers(self) -> tuple[str, ...]:
        """The digits without a country: the same however the number was told.

        Of a number without a country that is as long as one with (``919876543210``), both readings.
        """
        if national := _national(self.e164):
            return (national.lstrip("0"),)
        digits = _digits(self.number)
        with_country = _national(_valid(f"+{digits}")) if len(digits) > _NATIONAL_DIGITS else None
        return (digits, with_country.lstrip("0")) if with_country else (digits,)

    @property
    def country_code(self) -> str | None:
        """The calling code's digits, as given or else read from the number."""
        if self.dial_code:
            return self.dial_code.lstrip("+")
        if not self.e164:
            return None
        import phonenumbers

        return str(phonenumbers.parse(self.e164).country_code)


def _is_same_number(number: str, whole: Phone) -> bool:
    digits = _digits(number)
    return bool(digits) and digits in (_digits(whole.number), _national(whole.e164))


@functools.lru_cache(maxsize=1024)
def _national(e164: str | None) -> str | None:
    if not e164:
        return None
    import phonenumbers

    return phonenumbers.national_significant_number(phonenumbers.parse(e164))


def _digits(number: str) -> str:
    """A number's digits without the zeros that some countries dial before it."""
    return "".join(filter(str.isdigit, number)).lstrip("0")


@functools.lru_cache(maxsize=1024)
def _e164(number: str, dial_code: str | None, international: str | None) -> str | None:
    code = (dial_code or "").strip().lstrip("+")
    candidates = [international or "", number]
    if code.isdigit():
        candidates.append(f"+{code}{number}")
        if number.startswith(code):  # some senders repeat the dial code inside the number
            candidates.append(f"+{number}")
    for candidate in candidates:
        if candidate.strip().startswith("+") and (e164 := _valid(candidate)):
            return e164
    return None


def _valid(candidate: str) -> str | None:
    import phonenumbers

    try:
        parsed = phonenumbers.parse(candidate)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
