"""Where the certificates of the tests are."""

import ssl
from dataclasses import dataclass
from pathlib import Path


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
