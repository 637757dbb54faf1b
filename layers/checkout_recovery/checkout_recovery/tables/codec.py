"""DynamoDB's typed attributes by hand: boto3's resource API costs more than the call itself."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_UNKNOWN = "no attribute type for "


def encode(value: Any) -> Any:
    """Writes one value. A mapping's members that are None are left out."""
    match value:
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | Decimal():
            return {"N": str(value)}
        case Mapping():
            return {"M": encode_item(value)}
        case list() | tuple():
            return {"L": [encode(member) for member in value]}
        case None:
            return {"NULL": True}
    raise TypeError(_UNKNOWN + type(value).__name__)


def encode_item(members: Mapping[str, Any]) -> dict[str, Any]:
    """Writes an item; members that are None are left out, so that conditions may ask whether they exist."""
    return {name: encode(value) for name, value in members.items() if value is not None}


def decode(attribute: Mapping[str, Any]) -> Any:
    """Reads one attribute; a number without a fraction is an int."""
    ((kind, value),) = attribute.items()
    match kind:
        case "S" | "BOOL":
            return value
        case "N":
            return Decimal(value) if any(mark in value for mark in ".eE") else int(value)
        case "M":
            return decode_item(value)
        case "L":
            return [decode(member) for member in value]
        case "NULL":
            return None
    raise TypeError(_UNKNOWN + kind)


def decode_item(item: Mapping[str, Any]) -> dict[str, Any]:
    """Reads an item."""
    return {name: decode(attribute) for name, attribute in item.items()}
