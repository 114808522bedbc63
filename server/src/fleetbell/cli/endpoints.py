"""``fleetbell endpoint``: the callback URLs of applications."""

from __future__ import annotations

from cyclopts import App

from fleetbell.cli.examination import examine
from fleetbell.cli.place import PLAIN

app = App(name="endpoint", help="Endpoints: the callback URLs of applications.", default_parameter=PLAIN)
app.command(examine, name="test")
