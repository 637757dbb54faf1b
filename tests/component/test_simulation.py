"""A short simulated day on moto, and on Amazon's DynamoDB Local where Java is found."""

import shutil

import pytest

from local.simulation.day import ABANDONED, COMPLETED, RECOVERED, RESUMED, Day
from local.simulation.oracle import judge
from local.simulation.shoppers import simulated_day
from local.simulation.world import Run, World, create_tables, dynamodb

SEED = 7
HOURS = (14, 15)  # one store has quiet hours then
MOTO, DYNAMODB_LOCAL = "moto", "dynamodb-local"
NO_JAVA = pytest.mark.skipif(not (shutil.which("java") and shutil.which("npm")), reason="needs java and npm")

Played = tuple[Day, Run]


@pytest.fixture(
    params=[
        pytest.param((MOTO, 36), id=MOTO),
        pytest.param((DYNAMODB_LOCAL, 100), id=DYNAMODB_LOCAL, marks=NO_JAVA),
    ]
)
def played(request: pytest.FixtureRequest, environment: pytest.MonkeyPatch) -> Played:
    """A day, and what came of it."""
    backend, shoppers = request.param
    url = request.getfixturevalue("dynamodb_local_url") if backend == DYNAMODB_LOCAL else None
    day = simulated_day(shoppers, SEED, HOURS)
    with dynamodb(url, "simulation") as client:
        return day, World(client, create_tables(client), day, SEED).run()


def test_a_simulated_day_is_right_and_something_happens_on_it(played: Played) -> None:
    day, run = played
    assert judge(day, run.told).violations == []
    assert {ABANDONED, RESUMED, RECOVERED, COMPLETED} <= {one.event for one in run.told}
    assert any(one.is_message for one in run.told)
    assert {"no_contact", "cooldown", "quiet_hours"} <= {one.suppressed for one in run.told}


def test_the_same_seed_gives_the_same_day() -> None:
    assert simulated_day(30, SEED) == simulated_day(30, SEED)
    assert simulated_day(30, SEED) != simulated_day(30, SEED + 1)


def test_a_shopper_does_the_same_in_a_larger_crowd() -> None:
    assert simulated_day(10, SEED).people == simulated_day(30, SEED).people[:10]
