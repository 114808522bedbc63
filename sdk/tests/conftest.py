"""A certificate authority and a scripted platform for the tests."""

from collections.abc import Iterator

import pytest
import trustme

from .certificates import Certificates
from .scripted import Platform, running

collect_ignore = ["served.py"]  # a program of its own: it configures Django for its whole process


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    found = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    authority.cert_pem.write_to_path(str(found.ca_file))
    issued.private_key_pem.write_to_path(str(found.keyfile))
    with found.certfile.open("wb") as chain:
        for pem in issued.cert_chain_pems:
            chain.write(pem.bytes())
    return found


@pytest.fixture
def platform(certificates: Certificates) -> Iterator[Platform]:
    with running(certificates) as platform:
        yield platform
