"""Errors as values: what they say, and that they go to other processes."""

import copy
import pickle

import pytest

from fleetbell_sdk.bodies import Fields, Task
from fleetbell_sdk.errors import (
    ApiRefused,
    ConnectionFailed,
    FleetbellError,
    RateExceeded,
    TaskUnfinished,
    TimedOut,
)
from fleetbell_sdk.legacy import ReadTimeout, RequestException

from .test_flows import TASK

ERRORS = [
    ConnectionFailed("nobody is there", is_lasting=True),
    TimedOut("no answer"),
    RequestException("nobody is there", is_lasting=True),
    ReadTimeout("no answer"),
    ApiRefused(404, "123009", "no."),
    RateExceeded(403, "1010009", "too often.", retry_after_s=7.0),
    TaskUnfinished("op-300", 60.0, None),
    TaskUnfinished("op-300", 60.0, Task.read(Fields(TASK))),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_an_error_goes_to_other_processes_with_all_that_it_knows(error: FleetbellError) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == vars(error)


def test_an_old_error_is_caught_by_old_and_new_names() -> None:
    assert issubclass(ReadTimeout, RequestException)
    assert issubclass(ReadTimeout, TimedOut)
    assert issubclass(RequestException, ConnectionFailed)
    assert issubclass(RequestException, OSError)
