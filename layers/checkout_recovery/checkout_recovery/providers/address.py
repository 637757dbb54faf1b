"""Shipping addresses, whose fields every provider spells in its own way."""

from checkout_recovery.checkout.snapshot import Address
from checkout_recovery.providers.fields import Fields


def read_address(fields: Fields) -> Address | None:
    """Reads an address as far as it was typed; None where it says nothing.

    FlexyPe describes its fields but does not name them. The spellings here are those that its description
    and its neighbours suggest; where an address has several of one field, the first counts and the others
    are kept.
    """
    address = Address(
        name=fields.text("name", "full_name"),
        phone=fields.text("phone", "phone_no"),
        address1=fields.text("address1", "address_1", "address_line1", "address_line_1", "line1", "street"),
        address2=fields.text("address2", "address_2", "address_line2", "address_line_2", "line2"),
        city=fields.text("city", "locality"),
        zip=fields.text("zip", "zip_code", "zipcode", "pincode", "pin_code", "postal_code", "postcode"),
        province=fields.text("province", "state", "province_name", "state_name"),
        province_code=fields.text("province_code", "state_code"),
        country=fields.text("country", "country_name"),
        country_code=fields.text("country_code"),
        extra=fields.left,
    )
    return None if fields.says_nothing else address
