"""Messages made for trying a receiver out."""

import subprocess
import sys


def id_of_the_first_message_of_a_run() -> str:
    program = (
        "from fleetbell_sdk.testing import push_headers\nprint(push_headers(b'', secret=None)['webhook-id'])"
    )
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout


def test_a_receiver_that_remembers_takes_a_message_of_another_run_for_new() -> None:
    first, second = id_of_the_first_message_of_a_run(), id_of_the_first_message_of_a_run()

    assert first.startswith("test-")
    assert first != second
