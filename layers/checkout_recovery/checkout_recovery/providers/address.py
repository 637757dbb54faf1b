"""Shipping addresses, whose fields every provider spells in its own way."""

from checkout_recovery.checkout.snapshot import Address
from checkout_recovery.providers.fields import Fields, Layout, read_text

_SPELLINGS = {
    "name": ("name", "full_name"),
    "phone": ("phone", "phone_no"),
    "address1": ("address1", "address_1", "address_line1", "address_line_1", "line1", "street"),
    "address2": ("address2", "address_2", "address_line2", "address_line_2", "line2"),
    "city": ("city", "locality"),
    "zip": ("zip", "zip_code", "zipcode", "pincode", "pin_code", "postal_code", "postcode"),
    "province": ("province", "state", "province_name", "state_name"),
    "province_code": ("province_code", "state_code"),
    "country": ("country", "country_name"),
    "country_code": ("country_code",),
}
"""FlexyPe describes its fields but does not name them. These are the spellings that its description and its
neighbours suggest; where an address has several of one field, the first counts and the others are kept."""
_ADDRESS: Layout = [(name, field, read_text) for field, names in _SPELLINGS.items() for name in names]


def read_address(fields: Fields) -> Address | None:
    """Reads an address as far as it was typed; None where it says nothing."""
    told = fields.part(_ADDRESS)
    return Address(**told) if told else None
