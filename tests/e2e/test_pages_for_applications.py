"""The pages for those who write applications, run as they stand: a real platform, devices and receivers."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fleetbell.cli.simulation.fates import KNOWN_FATES
from fleetbell_sdk.testing import push_headers, software_result
from fleetbell_sdk.wire import encode
from tests.e2e.pages import ROOT, blocks, run, script
from tests.programs import require

FIRST_PUSH = ROOT / "docs" / "tutorial" / "first-push.md"
RECEIVE = ROOT / "docs" / "how-to" / "receive.md"
PULL = ROOT / "docs" / "how-to" / "pull.md"
CHECK = ROOT / "docs" / "how-to" / "check-signatures.md"
QUESTIONS = ROOT / "docs" / "how-to" / "questions.md"
ROTATE = ROOT / "docs" / "how-to" / "rotate-secrets.md"
MUTUAL = ROOT / "docs" / "how-to" / "mutual-tls.md"
FAILURES = ROOT / "docs" / "how-to" / "try-every-failure.md"
UPGRADE = ROOT / "docs" / "how-to" / "upgrade.md"
OLD = ROOT / "docs" / "how-to" / "old-applications.md"

PLATFORM_HERE = "$(grep -o 'https://127.0.0.1:[0-9]*' platform.log | head -n 1)"
UPGRADED = ["downloading", "downloaded", "updating", "idle"]


def test_the_tutorial_goes_from_a_clone_to_verified_messages_in_own_code(short_path: Path) -> None:
    said = run(
        script(FIRST_PUSH, "push-trial"),
        short_path,
        {
            "https://127.0.0.1:8743": PLATFORM_HERE,
            "http://127.0.0.1:8000": "$(grep -o 'http://127.0.0.1:[0-9]*' receiver.log)",
            "receiver.py 8000": "receiver.py 0",
        },
    )

    log = said.rpartition("listening at")[2]
    assert "state test-device downloading" in log
    assert "status=401" in said
    assert "refused a message: the message is not signed" in log
    assert "2 of 3 devices run 2.0" in said
    assert sorted(re.findall(r"^result \S+ (\S+) \S", log, re.MULTILINE)) == ["FAIL", "SUCCESS", "SUCCESS"]
    states = [state for device, state in re.findall(r"^state (dev-\S+) (\S+)$", log, re.MULTILINE)]
    assert sorted(set(states)) == sorted(UPGRADED)


def test_the_page_on_receiving_goes_from_nothing_to_results_that_are_kept(short_path: Path) -> None:
    require("openssl", package="openssl")

    said = run(
        script(RECEIVE, "receive-trial"),
        short_path,
        {
            "https://127.0.0.1:8743": PLATFORM_HERE,
            "https://127.0.0.1:8443": "$(grep -o 'https://127.0.0.1:[0-9]*' alone.log)",
            "alone.py 8443": "alone.py 0",
        },
    )

    states, results = defaultdict(list), []
    for device, state in re.findall(r"^state (\S+) (\S+)$", said, re.MULTILINE):
        states[device].append(state)
    for device, result, version in re.findall(r"^result (\S+) (\S+) (\S+)$", said, re.MULTILINE):
        results.append((result, version))
        assert states[device] == UPGRADED or result == "FAIL"
    assert len(re.findall(r"goes to https://127.0.0.1:\d+/push$", said, re.MULTILINE)) == 4
    assert sorted(results) == [("FAIL", "1.0.0"), ("SUCCESS", "2.0"), ("SUCCESS", "2.0")]
    assert re.findall(r"^ +status +(\d+)$", said, re.MULTILINE) == ["200"]
    with closing(sqlite3.connect(short_path / "receive-trial/inbox.db")) as database:
        assert database.execute("SELECT count(*) FROM result").fetchone() == (3,)


def test_the_page_on_pulling_follows_remembers_and_handles(short_path: Path) -> None:
    require("curl", package="curl")

    said = run(
        script(PULL, "pull-trial"),
        short_path,
        {
            "https://127.0.0.1:8743": PLATFORM_HERE,
            "http://127.0.0.1:8000": "$(grep -o 'http://127.0.0.1:[0-9]*' receiver.log)",
            "receiver.py 8000": "receiver.py 0",
        },
    )

    assert len(re.findall(r"^swUpgradeStateChangeNotify$", said, re.MULTILINE)) == len(UPGRADED)
    assert len(re.findall(r"^result dev-\S+ SUCCESS$", said, re.MULTILINE)) == 1
    assert re.findall(r"^(\d+) were new$", said, re.MULTILINE) == ["5", "0"]
    assert len(re.findall(r"^handled dev-\S+ SUCCESS$", said, re.MULTILINE)) == 1
    assert len(re.findall(r"^received dev-\S+ SUCCESS$", said, re.MULTILINE)) == 1
    assert (
        len(re.findall(r"  swUpgradeResultNotify  .*  SUCCESS  .*  200 OK in \d+ ms$", said, re.MULTILINE))
        == 1
    )
    assert "stopped; go on with --after msg-" in said
    assert '"next":"cur-' in said


def test_the_page_on_signatures_checks_them_without_our_sdk_by_hand_and_with_published_keys(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("openssl", package="openssl")

    said = run(script(CHECK, "signature-trial"), short_path, {"https://127.0.0.1:8743": PLATFORM_HERE})

    made, published = re.findall(r"whpk_\S+", said)
    assert made == published
    monkeypatch.chdir(short_path / "signature-trial")
    [program] = [block.text for block in blocks(CHECK) if block.file_name == "without_sdk.py"]
    names: dict[str, Any] = {}
    exec(program, names)
    body = encode(software_result())
    secret = json.loads(Path("application.json").read_text())["signing_secret"]
    assert "fleetbell" not in program
    assert names["take"](body, push_headers(body, secret=secret)) == 200
    assert names["take"](body + b" ", push_headers(body, secret=secret)) == 401


def test_the_page_on_replacing_secrets_loses_nothing_and_ends_what_has_leaked(short_path: Path) -> None:
    said = run(
        script(ROTATE, "rotate-trial"),
        short_path,
        {
            "https://127.0.0.1:8743": PLATFORM_HERE,
            "http://127.0.0.1:8000": "$(grep -o 'http://127.0.0.1:[0-9]*' receiver.log)",
            "receiver.py 8000": "receiver.py 0",
        },
    )

    answers = re.findall(r"^ +status +(\d+)$|^(refused, as it should be)$", said, re.MULTILINE)
    assert [status or words for status, words in answers] == [
        *("200", "200", "200"),
        *("401", "refused, as it should be", "200"),
    ]
    assert re.findall(r"^the (\w+) one logs in", said, re.MULTILINE) == ["former", "new"]
    keys = re.findall(r"^(key-\S+) +whpk_\S+ +(\w+)", said, re.MULTILINE)
    assert [stage for _, stage in keys] == ["signs", "announced", "signs"]
    assert keys[1][0] == keys[2][0]  # the announced one took the place of the leaked one


def test_the_page_on_mutual_tls_lets_in_the_platform_with_its_certificate_and_nobody_else(
    short_path: Path,
) -> None:
    require("openssl", package="openssl")

    said = run(
        script(MUTUAL, "mutual-trial"),
        short_path,
        {
            "https://127.0.0.1:8443": "$(grep -o 'https://127.0.0.1:[0-9]*' receiver.log | tail -n 1)",
            "--port 8443": "--port 0",
        },
    )

    before, _, after = said.partition("not let in, as it should be")
    assert "set a client certificate that the receiver accepts" in before
    assert re.findall(r"^ +status +(\d+)$", before, re.MULTILINE) == []
    assert re.findall(r"^ +status +(\d+)$", after, re.MULTILINE) == ["200", "200"]
    assert after.count("state test-device downloading") == 1  # the log is shown before the second


def test_the_page_of_questions_shows_what_its_answers_say(short_path: Path) -> None:
    require("openssl", package="openssl")
    everything = script(QUESTIONS, "question-trial")
    begin = everything.index(". .venv/bin/activate\n")
    end = everything.index('kill "$fleet"')

    said = run(
        everything[begin:end] + 'echo "== questions"\n' + everything[:begin] + everything[end:],
        short_path,
        {
            "https://127.0.0.1:8743": PLATFORM_HERE,
            "https://127.0.0.1:8443": "$(grep -o 'https://127.0.0.1:[0-9]*' receiver.log)",
            "https://127.0.0.1:8444": "$(grep -o 'https://127.0.0.1:[0-9]*' expired.log)",
            "receiver.py 8443": "receiver.py 0",
            "receiver.py 8444": "receiver.py 0",
        },
    )

    answers = said.partition("== questions")[2]
    assert "state test-device downloading" in (short_path / "question-trial/receiver.log").read_text()
    assert re.search(r"attempt 1: .* answered 500 from", answers)
    assert re.search(r"attempt 2: .* answered 200 from", answers)
    repeats = re.findall(r"^result \S+ attempt (\d) (\S+)$", answers, re.MULTILINE)
    assert [attempt for attempt, _ in repeats] == ["1", "2"]
    assert len({webhook_id for _, webhook_id in repeats}) == 1
    refusals = re.findall(r"^(\S+) is refused: .*?\. (.+)$", answers, re.MULTILINE)
    assert [(url, reason.partition(" such as ")[0]) for url, reason in refusals] == [
        ("https://app.example.com/push", "the callback URL needs its port,"),
        ("https://app.example.com:443", "the callback URL needs a path,"),
        (
            "http://app.example.com:8000/push",
            "the callback URL must be https; plain http is for commissioning and the setting "
            "callbacks.allow_http opens it.",
        ),
        (
            "https://10.20.0.5:8443/push",
            "the callback URL leads to a closed address: 10.20.0.5 is a private address; the setting "
            'egress.allow opens it (for example "10.20.0.5/32").',
        ),
    ]
    moved = re.findall(r"^sub-\S+ \S+ https://127.0.0.1:\d+/(\w+)$", answers, re.MULTILINE)
    assert moved == ["moved"] * 4
    assert re.search("has expired.*as it should be", answers, re.DOTALL)
    assert answers.count("30 days or less") >= 2


def test_the_page_on_old_applications_runs_one_against_a_platform(short_path: Path) -> None:
    require("openssl", package="openssl")

    said = run(
        script(OLD, "old-trial"),
        short_path,
        {
            "platformPort = 8743": f"platformPort = $(cut -d : -f 3 <<< {PLATFORM_HERE})",
            "127.0.0.1 8443": "127.0.0.1 0",
        },
    )

    assert len(re.findall(r"^task \S+$", said, re.MULTILINE)) == 1
    assert len(re.findall(r"^state \S+ \w+$", said, re.MULTILINE)) == 2 * len(UPGRADED)
    assert len(re.findall(r"^result \S+ SUCCESS 2.0$", said, re.MULTILINE)) == 2
    assert len(re.findall(r"^sub task \S+ success$", said, re.MULTILINE)) == 2
    assert "is not checked" not in said  # the page names the platform's CA


def test_the_page_on_upgrading_tells_progress_and_who_failed(short_path: Path) -> None:
    said = run(script(UPGRADE, "upgrade-trial"), short_path, {"https://127.0.0.1:8743": PLATFORM_HERE})

    sent = [int(number) for number in re.findall(r"^sent (\d+) of 200000 bytes$", said, re.MULTILINE)]
    assert sent == [65536, 131072, 196608, 200000]
    told = re.findall(r"^(\w+): (\d) done and (\d) failed of 3$", said, re.MULTILINE)
    assert told[-1] == ("failed", "2", "1")
    assert len(set(told)) == len(told)
    [(device, _), (same, without_reason)] = re.findall(r"^failed (\S+) ?(.*)$", said, re.MULTILINE)
    assert (same, without_reason) == (device, "")  # the second program tells no reasons
    assert len(re.findall(r"^success \S+$", said, re.MULTILINE)) == 2


def test_the_command_that_moves_imports_makes_an_old_program_the_example(tmp_path: Path) -> None:
    example = (ROOT / "examples" / "legacy_calls.py").read_text()
    old = tmp_path / "program.py"
    old.write_text(example.replace("fleetbell_sdk.legacy", "com.huawei.iotplatform"))
    [command] = [block.text for block in blocks(OLD) if block.language == "sh"]

    subprocess.run(["bash", "-euc", command.partition("\n")[2]], cwd=tmp_path, check=True)

    moved = old.read_text()
    assert moved != example  # the sentence that tells what has become of what
    assert moved == example.replace("com.huawei.iotplatform", "fleetbell_sdk.legacy")


@pytest.mark.timeout(240)
def test_the_page_on_failures_shows_every_result_code_and_reason(short_path: Path) -> None:
    here = {"https://127.0.0.1:8743": PLATFORM_HERE}
    said = run(script(FAILURES, "failure-trial"), short_path, here, within_s=220)

    results = re.findall(r"^\S+ result \S+ (?:SUCCESS|FAIL) (\d+) (.+)$", said, re.MULTILINE)
    assert {(fate.ended.error_code, fate.ended.description) for fate in KNOWN_FATES.values()} < set(results)
    assert results.count(("301", "the enclosure is frozen")) == 2 * 2  # and again in the retry
    seen = Counter(re.findall(r"^(\S+) (?:state|result) ", said, re.MULTILINE))
    assert Counter(seen.values())[2] == 3 * (len(UPGRADED) + 1)
    assert max(seen.values()) == 2
    assert "sent twice; the other one: answered 200" in said


def test_the_page_on_failures_names_every_fate_beside_its_result() -> None:
    table = re.findall(r"^\| (\S.*?) \| (.+?) \| (`.+) \|$", FAILURES.read_text(), re.MULTILINE)
    told = {name: (code, words) for code, words, names in table for name in re.findall("`(.+?)`", names)}

    assert set(told) == set(KNOWN_FATES)
    for name, (code, words) in told.items():
        ended = KNOWN_FATES[name].ended
        assert code in (ended.error_code, "any other")
        assert words == ended.description or "what the device says" in words
