"""`make load` at a small size, on the deployed template."""

from dataclasses import replace

import pytest

from local.cloud import Stack
from local.load.__main__ import Options, faults, figures, run
from local.load.receivers import FAILING, Kind

SMALL = Options(stores=1, subscribers=8, seconds=6, rate=3, settle_seconds=60)


@pytest.mark.parametrize("new", [False, True])
def test_nothing_is_lost_whoever_fails(stack: Stack, *, new: bool) -> None:
    said: list[str] = []
    phases = run(stack, replace(SMALL, new=new), said.append)
    told = figures(phases)
    assert faults(phases) == []
    assert set(told["with"]["receivers"]) == {*FAILING, Kind.SLOW, Kind.WELL}
    assert all(told[name]["receivers"]["well"]["received"] > 0 for name in ("without", "with"))
    for failing in (Kind.ERRING, Kind.DEAD):
        sums = told["with"]["receivers"][failing]
        assert sums["behind"] + sums["superseded"] + sums["given_up"] == sums["owed"] > 0
