"""docs/scale.md says what is calculated."""

import pytest

from bench.capacity import Volume
from bench.document import filled
from bench.per_item import TEMPLATE
from bench.scale import DOCUMENT, VOLUMES, load, sweeping, tables


def test_its_tables_are_what_was_measured_and_what_the_code_makes_of_it() -> None:
    document = DOCUMENT.read_text()
    made = filled(document, tables(load(), sweeping()))
    assert made == document, "docs/scale.md is out of date: make scale ARGS=--calculate"


def test_a_table_takes_the_place_of_the_one_before_it() -> None:
    document = "a\n<!-- t -->\nold\n<!-- /t -->\nb\n"
    assert filled(document, {"t": "new\n"}) == "a\n<!-- t -->\nnew\n<!-- /t -->\nb\n"


def test_a_table_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the table t"):
        filled("<!-- other -->\n<!-- /other -->\n", {"t": "new\n"})


@pytest.mark.parametrize("checkouts_a_day", VOLUMES.values(), ids=VOLUMES)
def test_the_template_allows_the_shards_that_a_volume_needs(checkouts_a_day: float) -> None:
    one = Volume(checkouts_a_day=checkouts_a_day, measured=load().measured, sweeping=sweeping())
    assert one.shards <= TEMPLATE["Parameters"]["DueShards"]["MaxValue"]
