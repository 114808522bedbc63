"""A certificate authority for the tests, and where its files are."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme


@dataclass(frozen=True, slots=True)
class Certificates:
    """A private CA and a server certificate for 127.0.0.1 and localhost."""

    ca_file: Path
    certfile: Path
    keyfile: Path

    @property
    def ca_pem(self) -> str:
        return self.ca_file.read_text("ascii")

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))


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
