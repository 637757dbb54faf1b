"""Cart lines in the names that FlexyPe gave them and that our own layouts took over."""

from collections.abc import Sequence
from decimal import Context, Decimal

from checkout_recovery.checkout.money import parse_amount
from checkout_recovery.providers.fields import (
    Fields,
    Layout,
    Told,
    read_count,
    read_flag,
    read_identifier,
    read_list,
    read_text,
    refusal,
)

_EXACT = Context(prec=100)
"""No product or sum of amounts that can be read is rounded."""


MAX_LINES = 1000
"""How many lines a cart may have: each becomes a dozen members in what is sent on."""


_ITEM: Layout = (
    ("product_id", "product_id", read_identifier),
    ("variant_id", "variant_id", read_identifier),
    ("title", "title", read_text),
    ("handle", "handle", read_text),
    ("image", "image_url", read_text),
    ("image_url", "image_url", read_text),
    ("quantity", "quantity", read_count),
    ("grams", "grams", parse_amount),
    ("price", "price", parse_amount),
    ("discount", "discount", parse_amount),
    ("total_discount", "total_discount", parse_amount),
    ("sub_total_price", "sub_total_price", parse_amount),
    ("total_price", "total_price", parse_amount),
    ("single_variant", "single_variant", read_flag),
    ("properties", "properties", read_list),
)
_VARIANT: Layout = (
    ("variant_id", "variant_id", read_identifier),
    ("title", "title", read_text),
    ("price", "price", parse_amount),
    ("compare_at_price", "compare_at_price", parse_amount),
)


def lines_of(fields: Fields, name: str) -> list[Fields] | None:
    """Takes the lines of a cart out; None where there is no array of them, or one of nothing but strays.

    Raises:
        MalformedRequest: there are more than `MAX_LINES`.
    """
    lines = fields.objects(name)
    if lines == [] and name in fields.left:
        return None  # there is something, but no line in it
    if lines is not None and len(lines) > MAX_LINES:
        raise refusal(name, f"may have at most {MAX_LINES} lines")
    return lines


def read_items(fields: Fields, name: str) -> list[Told] | None:
    """Reads the lines of a cart, each as what it tells of an `Item`; None where there is no array of them."""
    lines = lines_of(fields, name)
    return None if lines is None else [_item(line) for line in lines]


def sum_of(amounts: Sequence[Decimal | None]) -> Decimal | None:
    """Adds amounts up. Unknown as soon as one is; and of nothing at all the sum is not known to be zero."""
    total = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        total = _EXACT.add(total, amount)
    return total if amounts else None


def line_total(item: Told) -> Decimal | None:
    """What one line comes to, as told or else from price and quantity."""
    total: Decimal | None = item.get("total_price")
    if total is None and "price" in item and "quantity" in item:
        return _EXACT.multiply(item["price"], item["quantity"])
    return total


def _item(line: Fields) -> Told:
    variant = line.object("variant")
    told = line.all(_ITEM)
    if of_variant := variant.part(_VARIANT):
        told["variant"] = of_variant
    if line.left:
        told["extra"] = line.left
    return told
