"""The images that the tests make, judged by the real ``swupdate``."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.swupdate.agent import Device, SwupdateAgent, require_agent
from tests.e2e.swupdate.images import HARDWARE, Failure, Signer, failing_image, good_image, payload

SIGNER = Signer.fresh()


@pytest.fixture(autouse=True)
def _agent_is_there() -> None:
    require_agent()


@pytest.fixture
def installs(tmp_path: Path) -> Path:
    return tmp_path / "root" / "payload.bin"


def installed(image: Path, trusted: Signer) -> bool:
    """Install ``image`` without any door; whether SWUpdate logs that it was successful.

    Its exit code says nothing: under load one good installation in five ends with 1.
    """
    program = shutil.which("swupdate")
    assert program is not None
    certificate = trusted.write_certificate(image.with_suffix(".pem"))
    (image.parent / "tmp").mkdir()
    run = subprocess.run(
        [program, "-v", "-H", HARDWARE, "-k", str(certificate), "-i", str(image)],
        check=False,
        capture_output=True,
        timeout=60,
        env={"PATH": os.defpath, "TMPDIR": str(image.parent / "tmp")},
    )
    return b"SWUPDATE successful" in run.stdout


@pytest.mark.parametrize("size_bytes", [1, 65_537, 300_000])
def test_a_good_image_installs_its_payload(tmp_path: Path, installs: Path, size_bytes: int) -> None:
    image = good_image(tmp_path / "good.swu", size_bytes=size_bytes, signer=SIGNER, installs=installs)

    success = installed(image, SIGNER)

    assert success
    assert installs.read_bytes() == b"".join(payload("2.0", size_bytes))


@pytest.mark.parametrize("failure", list(Failure))
def test_a_failing_image_installs_nothing(tmp_path: Path, installs: Path, failure: Failure) -> None:
    image = failing_image(
        tmp_path / "failing.swu", size_bytes=1000, signer=SIGNER, installs=installs, failure=failure
    )

    success = installed(image, SIGNER)

    assert not success
    assert not installs.exists()


def test_an_image_of_another_signer_is_refused(tmp_path: Path, installs: Path) -> None:
    image = good_image(tmp_path / "good.swu", size_bytes=1000, signer=Signer.fresh(), installs=installs)

    success = installed(image, SIGNER)

    assert not success
    assert not installs.exists()


async def test_a_folder_too_deep_for_a_socket_is_said_so(tmp_path: Path) -> None:
    device = Device(
        url="http://127.0.0.1:9",
        tenant="DEFAULT",
        controller_id="device-1",
        target_token="token",
        certificate=SIGNER.write_certificate(tmp_path / "signer.pem"),
    )

    with pytest.raises(ValueError, match="choose a shorter path"):
        await SwupdateAgent.start(device, tmp_path / ("deep" * 30))
