"""Properties of the throttle: never more than its rate and burst allow, and whoever waits as told is served."""

from hypothesis import given, settings
from hypothesis import strategies as st

from service.control.limits import Throttle

START = 1.8e9  # seconds since 1970: where floating point is as coarse as in life
SLACK = 1e-6  # seconds, of a float of that size
rates = st.sampled_from([1 / 60, 0.5, 1.0, 7 / 60, 10.0, 500.0])
bursts = st.integers(1, 20)
pauses = st.lists(st.one_of(st.just(0.0), st.floats(0, 5), st.floats(0, 200)), min_size=1, max_size=80)


def run(rate: float, burst: int, pauses: list[float]) -> list[tuple[float, int]]:
    """When something was asked, and the wait that was told (0: it was let through)."""
    throttle, now, asked = Throttle(), START, []
    for pause in pauses:
        now += pause
        asked.append((now, throttle.take("somebody", rate, burst, now)))
    return asked


@given(rates, bursts, pauses)
@settings(deadline=None)
def test_no_window_holds_more_than_rate_and_burst_allow(rate: float, burst: int, pauses: list[float]) -> None:
    through = [now for now, wait in run(rate, burst, pauses) if not wait]
    for first in range(len(through)):
        for last in range(first, len(through)):
            window = through[last] - through[first]
            assert last - first + 1 <= burst + rate * (window + SLACK) + 1e-3


@given(rates, bursts, pauses)
@settings(deadline=None)
def test_whoever_waits_as_told_is_let_through(rate: float, burst: int, pauses: list[float]) -> None:
    throttle, now = Throttle(), START
    for pause in pauses:
        now += pause
        wait = throttle.take("somebody", rate, burst, now)
        if wait:
            now += wait
            assert throttle.take("somebody", rate, burst, now) == 0


@given(rates, bursts, pauses)
@settings(deadline=None)
def test_the_wait_is_not_a_second_longer_than_needed(rate: float, burst: int, pauses: list[float]) -> None:
    throttle, now = Throttle(), START
    for pause in pauses:
        now += pause
        wait = throttle.take("somebody", rate, burst, now)
        if wait > 1:
            assert throttle.take("somebody", rate, burst, now + wait - 1 - SLACK) > 0


@given(rates, bursts, pauses)
@settings(deadline=None)
def test_being_refused_costs_nothing(rate: float, burst: int, pauses: list[float]) -> None:
    """Who asks again and again meanwhile is let through at the same moments as who does not."""
    eager, patient, now = Throttle(), Throttle(), START
    for pause in pauses:
        now += pause
        while eager.take("eager", rate, burst, now) == 0:
            assert patient.take("patient", rate, burst, now) == 0
        assert patient.take("patient", rate, burst, now) > 0


@given(rates, bursts, pauses, st.integers(1, 5))
@settings(deadline=None)
def test_what_is_given_back_was_never_taken(rate: float, burst: int, pauses: list[float], tries: int) -> None:
    one, other, now = Throttle(), Throttle(), START
    for pause in pauses:
        now += pause
        for _ in range(tries):
            if one.take("a", rate, burst, now) == 0:
                one.give_back("a", rate)
        assert (one.take("a", rate, burst, now) == 0) == (other.take("a", rate, burst, now) == 0)


@given(bursts, st.floats(2, 1e7))
@settings(deadline=None)
def test_a_clock_that_is_set_back_locks_nobody_out(burst: int, back: float) -> None:
    throttle = Throttle()
    for _ in range(burst):
        assert throttle.take("somebody", 1.0, burst, START) == 0
    assert throttle.take("somebody", 1.0, burst, START - back) <= burst + 1


def test_others_do_not_wait_for_one() -> None:
    throttle = Throttle()
    assert throttle.take("one", 1.0, 1, START) == 0
    assert throttle.take("one", 1.0, 1, START) == 1
    assert throttle.take("other", 1.0, 1, START) == 0


def test_whoever_has_been_away_is_forgotten_and_whoever_waits_is_not() -> None:
    throttle = Throttle()
    for host in range(10_000):
        throttle.take(host, 1.0, 1, START)
    throttle.take("slow", 1 / 3600, 1, START)
    throttle.take("late", 1.0, 1, START + 60)
    assert len(throttle._arrivals) <= 2
    assert throttle.take("slow", 1 / 3600, 1, START + 61) > 0


@given(rates, bursts, pauses)
@settings(deadline=None)
def test_looking_tells_what_taking_would_and_takes_nothing(rate: float, burst: int, pauses: list[float]) -> None:
    throttle, now = Throttle(), START
    for pause in pauses:
        now += pause
        seen = [throttle.wait("somebody", rate, burst, now) for _ in range(3)]
        assert seen == [throttle.take("somebody", rate, burst, now)] * 3
