"""Phone numbers as providers send them: the number, its dial code, and sometimes both in one."""

from checkout_recovery.checkout.phone import Phone
from checkout_recovery.providers.fields import Fields


def read_phone(fields: Fields, *, number: tuple[str, ...], international: str) -> Phone | None:
    """Takes a number out of the members that may hold it; a dial code alone is none and stays."""
    dial_code, full = fields.text("dial_code"), fields.text(international)
    typed = fields.text(*number) or full
    if typed is None:
        if dial_code is not None:
            fields.put_back("dial_code")
        return None
    phone = Phone.of(typed, dial_code, full)
    if full not in (None, typed, phone.e164):
        fields.put_back(international)
    return phone
