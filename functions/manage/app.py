"""Placeholder until the function is written."""


def handler(event: dict[str, object], context: object) -> dict[str, object]:
    return {"statusCode": 200, "body": "{}"}
