import pytest

from checkout_recovery.delivery.breaker import Breaker

RECEIVER = ("s1", "https://bsp.example/hook")
OTHER = ("s2", "https://bsp.example/hook")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def a_breaker(clock: Clock, *, failures: int = 2, capacity: int = 10) -> Breaker:
    return Breaker(failures=failures, probe_after=30, probe_at_most=600, clock=clock, capacity=capacity)


def an_open_one(clock: Clock) -> Breaker:
    breaker = a_breaker(clock)
    breaker.unanswered(RECEIVER)
    breaker.unanswered(RECEIVER)
    return breaker


def test_each_attempt_without_an_answer_leaves_one_fewer(clock: Clock) -> None:
    breaker = a_breaker(clock, failures=3)
    left = [breaker.allowance(RECEIVER)]
    for _ in range(3):
        breaker.unanswered(RECEIVER)
        left.append(breaker.allowance(RECEIVER))
    assert left == [3, 2, 1, 0]


def test_an_answer_closes_it_and_forgets_the_attempts_before(clock: Clock) -> None:
    breaker = an_open_one(clock)
    breaker.answered(RECEIVER)
    assert breaker.allowance(RECEIVER) == 2
    breaker.unanswered(RECEIVER)
    assert breaker.allowance(RECEIVER) == 1


def test_one_who_holds_a_batch_up_and_has_never_answered_is_left_alone_at_once(clock: Clock) -> None:
    breaker = a_breaker(clock)
    breaker.unanswered(RECEIVER, held_up=True)
    assert breaker.has_opened(RECEIVER)
    assert breaker.allowance(RECEIVER) == 0
    clock.now += 30
    assert breaker.allowance(RECEIVER) == 1
    breaker.unanswered(RECEIVER, held_up=True)
    assert breaker.allowance(RECEIVER) == 0
    assert not breaker.has_opened(RECEIVER), "a probe that fails is no news"


def test_one_who_has_answered_before_may_be_slow_once(clock: Clock) -> None:
    breaker = a_breaker(clock)
    breaker.answered(RECEIVER)
    breaker.unanswered(RECEIVER, held_up=True)
    assert not breaker.has_opened(RECEIVER)
    assert breaker.allowance(RECEIVER) == 1
    breaker.unanswered(RECEIVER, held_up=True)
    assert breaker.has_opened(RECEIVER)


def test_of_those_who_answered_the_one_heard_of_last_is_forgotten_last(clock: Clock) -> None:
    breaker = a_breaker(clock, capacity=2)
    third = ("s3", "https://bsp.example/hook")
    for receiver in (RECEIVER, OTHER, RECEIVER, third):
        breaker.answered(receiver)
    assert [breaker.is_stranger(each) for each in (RECEIVER, OTHER, third)] == [False, True, False]


def test_who_was_attempted_is_no_stranger(clock: Clock) -> None:
    breaker = a_breaker(clock)
    assert breaker.is_stranger(RECEIVER)
    breaker.unanswered(RECEIVER)
    assert not breaker.is_stranger(RECEIVER)


def test_one_receiver_says_nothing_of_another(clock: Clock) -> None:
    breaker = an_open_one(clock)
    assert breaker.allowance(OTHER) == 2
    breaker.answered(OTHER)
    assert breaker.allowance(RECEIVER) == 0


def test_the_wait_doubles_with_each_probe_that_fails_up_to_its_bound(clock: Clock) -> None:
    breaker = an_open_one(clock)
    waits = []
    for _ in range(7):
        began = clock.now
        while breaker.allowance(RECEIVER) == 0:
            clock.now += 1
        waits.append(clock.now - began)
        assert breaker.allowance(RECEIVER) == 1
        breaker.unanswered(RECEIVER)
    assert waits == [30, 60, 120, 240, 480, 600, 600]


def test_after_an_answer_the_first_wait_is_the_short_one_again(clock: Clock) -> None:
    breaker = an_open_one(clock)
    clock.now += 30
    breaker.unanswered(RECEIVER)
    breaker.answered(RECEIVER)
    breaker.unanswered(RECEIVER)
    breaker.unanswered(RECEIVER)
    clock.now += 30
    assert breaker.allowance(RECEIVER) == 1


def test_those_that_were_in_flight_when_it_opened_prolong_nothing(clock: Clock) -> None:
    breaker = an_open_one(clock)
    for _ in range(4):
        breaker.unanswered(RECEIVER)
    clock.now += 30
    assert breaker.allowance(RECEIVER) == 1


def test_beyond_its_capacity_the_oldest_failure_is_forgotten(clock: Clock) -> None:
    breaker = a_breaker(clock, failures=1, capacity=3)
    for name in ("a", "b", "c", "a", "d"):
        breaker.unanswered((name, "https://bsp.example/"))
    assert [breaker.allowance((name, "https://bsp.example/")) for name in "abcd"] == [0, 1, 0, 0]


def test_it_remembers_only_failures_and_no_more_than_it_may(clock: Clock) -> None:
    breaker = a_breaker(clock, capacity=3)
    for number in range(100):
        breaker.answered((f"good{number}", "https://bsp.example/"))
        breaker.unanswered((f"bad{number}", "https://bsp.example/"))
        breaker.allowance((f"new{number}", "https://bsp.example/"))
    assert {subscription for subscription, _ in breaker._silences} == {"bad97", "bad98", "bad99"}
