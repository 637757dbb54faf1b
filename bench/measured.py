"""What was measured last: a part of measured.json for each command that measures."""

import json
from pathlib import Path
from typing import Any, Literal

Part = Literal["items", "requests"]
"""What `make scale` measures of a checkout, and `make cost` of a request and a batch."""

_FILE = Path(__file__).with_suffix(".json")


def read(part: Part) -> Any:
    """Returns a part as JSON has it.

    Raises:
        KeyError: it has never been measured.
    """
    return json.loads(_FILE.read_text())[part]


def write(part: Part, found: Any) -> None:
    """Puts what was measured in the place of what was before; the other parts stay."""
    parts = json.loads(_FILE.read_text()) | {part: found}
    _FILE.write_text(json.dumps(parts, indent=2) + "\n")
