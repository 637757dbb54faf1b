"""Documents whose tables are made by a program."""

from collections.abc import Mapping


def filled(document: str, tables: Mapping[str, str]) -> str:
    """The document with each table in its place, between `<!-- name -->` and `<!-- /name -->`.

    Raises:
        ValueError: a table has no place.
    """
    for name, table in tables.items():
        before, begin, rest = document.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not (begin and end):
            raise ValueError(f"there is no place for the table {name}")
        document = before + begin + table + end + after
    return document
