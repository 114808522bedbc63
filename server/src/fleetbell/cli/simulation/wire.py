"""What a DDI device reads: as much of the poll, the offer and the cancel as it needs."""

from __future__ import annotations

import msgspec


class Link(msgspec.Struct):
    """A way on."""

    href: str


class Links(msgspec.Struct, rename="camel"):
    """What a poll offers."""

    deployment_base: Link | None = None
    cancel_action: Link | None = None
    config_data: Link | None = None


class Polling(msgspec.Struct):
    """How often to poll."""

    sleep: str = "00:05:00"


class Config(msgspec.Struct):
    """What the platform asks of the device."""

    polling: Polling = msgspec.field(default_factory=Polling)


class Poll(msgspec.Struct):
    """The answer to a poll."""

    config: Config = msgspec.field(default_factory=Config)
    links: Links = msgspec.field(name="_links", default_factory=Links)


class Artifact(msgspec.Struct):
    """One file of a chunk."""

    filename: str
    size: int
    hashes: dict[str, str]
    links: dict[str, Link] = msgspec.field(name="_links")

    @property
    def href(self) -> str:
        """Where it is, by TLS when there is a choice."""
        return (self.links.get("download") or self.links["download-http"]).href


class Chunk(msgspec.Struct):
    """One module of a deployment."""

    part: str
    version: str
    name: str
    artifacts: list[Artifact]

    @property
    def firmware(self) -> bool:
        return self.part in ("os", "firmware")


class Deployment(msgspec.Struct):
    """What is to be installed."""

    chunks: list[Chunk]
    download: str
    update: str


class Offer(msgspec.Struct):
    """A deployment with the id of its action."""

    id: str
    deployment: Deployment


class Stop(msgspec.Struct, rename="camel"):
    """The action to give up."""

    stop_id: str


class CancelOffer(msgspec.Struct, rename="camel"):
    """The wish that an action be given up."""

    id: str
    cancel_action: Stop


def seconds(sleep: str) -> float:
    """The seconds of ``HH:MM:SS``.

    >>> seconds("00:01:30")
    90.0
    """
    hours, minutes, rest = (int(part) for part in sleep.split(":"))
    return float(hours * 3600 + minutes * 60 + rest)
