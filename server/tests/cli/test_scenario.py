from __future__ import annotations

import re
from pathlib import Path

import pytest

from fleetbell.cli.simulation.fates import KNOWN_FATES
from fleetbell.cli.simulation.fleet import Fates, Luck
from fleetbell.cli.simulation.scenario import EVERY_OUTCOME, Scenario, named, overview, read
from fleetbell.cli.simulation.upgrade import Failure, Moment
from fleetbell.cli.terminal import Failed

EXAMPLES = Path(__file__).parents[3] / "examples/scenarios"
NODE_IDS = [f"n{number}" for number in range(10)]


def told(scenario: Scenario, node_ids: list[str] = NODE_IDS) -> dict[str, str]:
    """The name of each device's fate."""
    return {node_id: part.known.name for node_id, part in scenario.cast(node_ids).items()}


def refusal(content: str) -> str:
    with pytest.raises(Failed) as refused:
        read(content, file="f.toml").cast(NODE_IDS)
    return str(refused.value)


def test_a_name_is_a_fate_for_the_whole_fleet() -> None:
    assert told(named("low-battery")) == dict.fromkeys(NODE_IDS, "low-battery")
    assert named("low-battery").devices == 10


def test_every_outcome_has_a_device_for_each_fate() -> None:
    scenario = named(EVERY_OUTCOME)

    assert scenario.devices == len(KNOWN_FATES)
    assert set(told(scenario, [f"n{n}" for n in range(99)]).values()) == set(KNOWN_FATES)


def test_the_example_with_every_outcome_has_every_fate() -> None:
    scenario = named(str(EXAMPLES / "every-outcome.toml"))

    assert {part.known.name for part in scenario.parts} == set(KNOWN_FATES)
    assert scenario.devices == len(KNOWN_FATES) + 1


def test_the_comments_of_the_example_say_how_its_fates_end() -> None:
    content = (EXAMPLES / "every-outcome.toml").read_text()

    comments = re.findall(r'^name = "(.+)" # (\d+, [^:\n]+|Wait\w* [^;\n]+)', content, re.MULTILINE)
    assert len(comments) > 15
    for name, comment in comments:
        ended = KNOWN_FATES[name].ended
        assert comment in (f"{ended.error_code}, {ended.description}", ended.description)


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_an_example_can_be_read_and_has_devices_for_all_its_parts(example: Path) -> None:
    scenario = named(str(example))
    cast = scenario.cast([f"sim-{number:04}" for number in range(1, scenario.devices + 1)])

    assert set(cast.values()) == set(scenario.parts)


def test_upper_fates_choose_first_and_what_is_left_has_luck() -> None:
    scenario = read(
        """
        [[fate]]
        name = "silent"
        node_id = "n[35]"

        [[fate]]
        name = "low-battery"
        count = 2

        [[fate]]
        name = "slow"
        share = 0.2
        """,
        file="f.toml",
    )

    assert told(scenario) == {
        "n3": "silent",
        "n5": "silent",
        "n0": "low-battery",
        "n1": "low-battery",
        "n2": "slow",
        "n4": "slow",
    }
    fates = Fates(NODE_IDS, Luck(twice=1), scenario)
    assert [node_id for node_id in NODE_IDS if fates.of(node_id, "2.0").twice] == ["n6", "n7", "n8", "n9"]
    assert [node_id for node_id in NODE_IDS if fates.silent(node_id)] == ["n3", "n5"]


def test_a_share_is_at_least_one_device() -> None:
    assert len(told(read('fate = [{name = "slow", share = 0.001}]', file="f.toml"))) == 1


def test_a_file_has_the_devices_that_it_says_or_counts() -> None:
    counted = '[[fate]]\nname = "slow"\ncount = 3\n[[fate]]\nname = "silent"\n'

    assert read(counted, file="f").devices == 4
    assert read("devices = 7\n" + counted, file="f").devices == 7
    assert read(counted + '[[fate]]\nname = "success"\nshare = 0.5\n', file="f").devices == 10


def test_a_fate_can_be_had_for_so_many_upgrades_only() -> None:
    scenario = read('[[fate]]\nname = "low-battery"\nshare = 1\nupgrades = 2', file="f.toml")
    fates = Fates(NODE_IDS, Luck(), scenario)

    assert [fates.of("n1", "2.0", had).failure is not None for had in range(4)] == [True, True, False, False]


def test_a_failure_can_be_told_otherwise() -> None:
    scenario = read(
        '[[fate]]\nname = "rollback"\nat = "downloaded"\ncode = 0\nwords = "no"\nbytes_per_s = 9', file="f"
    )
    [part] = scenario.parts

    assert part.known.fate.failure == Failure(Moment.DOWNLOADED, 0, "no")
    assert part.known.fate.bytes_per_s == 9
    assert part.known.fate.reboot is KNOWN_FATES["rollback"].fate.reboot
    assert part.known.result == "FAIL 10, no"  # a 0 would read as a success


def test_who_goes_through_what_is_told_in_a_line_for_each_part() -> None:
    cast = read('[[fate]]\nname = "slow"\n[[fate]]\nname = "low-battery"\ncount = 3', file="f").cast(NODE_IDS)

    assert overview(cast) == ["n0: slow (SUCCESS)", "n1 and 2 more: low-battery (FAIL 4, battery low)"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[[fate]", "f.toml is not TOML: Expected ']]' at the end of an array declaration (at line 1"),
        ("", "f.toml: it has no [[fate]]"),
        ("fate = []", "f.toml has no [[fate]]"),
        ("devices = 0\n[[fate]]\nname = 'slow'", "f.toml, line 1: devices is a whole number from 1"),
        ("devices = '9'\n[[fate]]\nname = 'slow'", "f.toml, line 1: devices is a whole number, not a text"),
        (
            "device = 9\n[[fate]]\nname = 'slow'",
            "f.toml, line 1: there is no key 'device' (perhaps devices)",
        ),
        (
            "# a comment\n[[fate]]\nname = 'slow'\n\n[[fate]]\n\nname = 'low-batery'",
            "f.toml, line 7: there is no fate 'low-batery' (perhaps low-battery)",
        ),
        ("[[fate]]\nname = 'x9'", "f.toml, line 2: there is no fate 'x9'; --scenario list shows"),
        ("\n[[fate]]\ncount = 3", "f.toml, line 2: a [[fate]] needs a name"),
        ("[[fate]]\nname = 'slow'\ncuont = 3", "f.toml, line 3: there is no key 'cuont' (perhaps count)"),
        (
            "[[fate]]\nname = 'slow'\ncount = '3'",
            "f.toml, line 3: count is a whole number, not a text",
        ),
        ("[[fate]]\nname = 'slow'\ncount = 0", "f.toml, line 3: count is a whole number from 1, not 0"),
        ("[[fate]]\nname = 'slow'\nshare = 2", "f.toml, line 3: share is above 0 and at most 1, not 2.0"),
        (
            "[[fate]]\nname = 'slow'\ncount = 2\nshare = 0.2",
            "f.toml, line 4: a fate has count or share, not both",
        ),
        ("fate = 5", "f.toml, line 1: fate is a list, not a whole number"),
        ("[[fate]]\nname = 'no-code'\nat = 5", "f.toml, line 3: at is a text, not a whole number"),
        (
            "[[fate]]\nname = 'no-code'\nat = 'noon'",
            "f.toml, line 3: at is one of offered, downloading, downloaded, updating, not 'noon'",
        ),
        (
            "[[fate]]\nname = 'slow'\ncode = 3",
            "f.toml, line 1: code, words and at belong to a fate that ends in a failure on the device",
        ),
        (
            "[[fate]]\nname = 'silent'\nupgrades = 1",
            "f.toml, line 3: a device that is never heard of has no upgrades to count",
        ),
        (
            "[[fate]]\nname = 'slow'\nnode_id = 'x*'",
            "f.toml, line 1: no device is left for slow whose node id fits 'x*'",
        ),
        (
            "[[fate]]\nname = 'slow'\ncount = 8\n[[fate]]\nname = 'silent'\ncount = 3",
            "f.toml, line 4: silent is for 3 devices, 2 of 10 are left; take --devices 11",
        ),
    ],
)
def test_a_file_that_cannot_be_is_refused_in_one_sentence_with_its_line(content: str, sentence: str) -> None:
    assert refusal(content).startswith(sentence)
    assert "\n" not in refusal(content)


def test_a_name_that_does_not_exist_is_refused_with_one_that_does(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"no scenario and no file 'low-batery' \(perhaps low-battery\)"):
        named("low-batery")
    with pytest.raises(Failed, match="cannot be read: Is a directory$"):
        named(str(tmp_path))
    (tmp_path / "binary.toml").write_bytes(b"\xff")
    with pytest.raises(Failed, match="cannot be read: it is no text$"):
        named(str(tmp_path / "binary.toml"))


def test_too_few_devices_are_told_at_once_how_many_all_parts_want() -> None:
    with pytest.raises(Failed, match=f"take --devices {len(KNOWN_FATES)}$"):
        named("every-outcome").cast(["a", "b", "c"])
