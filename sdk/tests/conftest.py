"""A certificate authority, a scripted platform and a PostgreSQL for the tests."""

import itertools
import os
from collections.abc import Iterator

import psycopg
import pytest
import trustme

from benchmarks.others.servers import ServerMissing, postgres

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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL of our own; how to connect to it."""
    try:
        with postgres() as dsn:
            yield dsn
    except ServerMissing as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


SCHEMAS = itertools.count(1)


@pytest.fixture
def postgres_dsn(postgres_server: str) -> str:
    """How to connect to an empty schema of its own."""
    schema = f"trial_{next(SCHEMAS)}"
    with psycopg.connect(postgres_server) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
    return f"{postgres_server} options='-c search_path={schema}'"
