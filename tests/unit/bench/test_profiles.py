"""How a profile is told by parts."""

import pytest

from bench.profiles import by_part, part_of, shares

OURS = ("/x/layers/checkout_recovery/checkout_recovery/delivery/send.py", 1, "send")
THEIRS = ("/x/site-packages/pydantic/main.py", 1, "__init__")
IN_C = ("~", 0, "<built-in method len>")


@pytest.mark.parametrize(
    ("file", "part"),
    [
        (OURS[0], "delivery.send"),
        ("/x/layers/checkout_recovery/checkout_recovery/aws.py", "aws"),
        (THEIRS[0], "pydantic"),
        ("/x/site-packages/typing_extensions.py", "typing_extensions"),
        ("/usr/lib/python3.13/json/encoder.py", "Python"),
        ("~", None),
        ("<frozen os>", None),
    ],
)
def test_a_file_belongs_to_a_module_of_ours_or_to_its_library(file: str, part: str | None) -> None:
    assert part_of(file) == part


def test_what_runs_in_c_counts_as_its_callers() -> None:
    stats = {
        OURS: (1, 1, 2.0, 5.0, {}),
        THEIRS: (1, 1, 1.0, 1.0, {OURS: (1, 1, 1.0, 1.0)}),
        IN_C: (4, 4, 4.0, 4.0, {OURS: (3, 3, 3.0, 3.0), THEIRS: (1, 1, 1.0, 1.0)}),
    }
    assert by_part(stats) == {"delivery.send": 5.0, "pydantic": 2.0}


def test_the_largest_parts_come_first_and_all_add_up() -> None:
    told = shares({f"part{number}": float(number) for number in range(1, 21)})
    assert told[0] == ("part20", 20 / 210)
    assert told[-1] == ("all others", sum(range(1, 9)) / 210)
    assert sum(share for _, share in told) == pytest.approx(1.0)
