"""Whole conversations, as recorded from real agents, and what the application hears of them."""

from typing import Any

from server.tests.southbound.ddi.house import HOST, House, Reply, told

ORIGIN = f"https://{HOST.decode()}"


class Swupdate:
    """The requests of SWUpdate 2022.12 (Debian), in its order. It takes no answer to a report but 200."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def _ask(self, method: str, path: str = "", body: dict[str, Any] | None = None) -> Reply:
        headers = {"accept": "application/json", "content-type": "application/json", "charsets": "utf-8"}
        path = path.removeprefix(ORIGIN)
        return await self._house.ask(method, path, body, headers=headers)

    async def poll(self) -> dict[str, str]:
        """The links; the offer among them is fetched at once, at every poll."""
        links = {name: link["href"] for name, link in (await self._ask("GET")).json["_links"].items()}
        if "deploymentBase" in links:
            assert (await self._ask("GET", links["deploymentBase"])).status == 200
        return links

    async def tell(self, link: str, *said: str) -> None:
        reply = await self._ask("POST", f"{link.partition('?')[0]}/feedback", told(*said))
        assert reply.status == 200

    async def identify(self) -> None:
        body = {
            "id": "",
            "time": "20261121T032846",
            "status": {"result": {"finished": "success"}, "execution": "closed", "details": [""]},
            "data": {"sw_version": "1.0", "board": "test"},
        }
        assert (await self._ask("PUT", "configData", body)).status == 200

    async def download(self, link: str) -> None:
        """``HEAD`` first; a body there would break it."""
        offer = (await self._ask("GET", link)).json
        file = offer["deployment"]["chunks"][0]["artifacts"][0]
        url = file["_links"]["download"]["href"]
        head = await self._ask("HEAD", url)
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(file["size"]))
        assert len((await self._ask("GET", url)).body) == file["size"]

    async def install(self, link: str) -> None:
        """Up to the end of the download."""
        await self.poll()
        await self.tell(link, "proceeding", "none", "Installing Update Chunk Artifacts.")
        await self.download(link)


async def test_swupdate_installs_restarts_and_confirms(house: House) -> None:
    await house.change_device(attributes_wanted=True)
    await house.offer()
    agent = Swupdate(house)

    links = await agent.poll()
    await agent.identify()
    assert "configData" not in await agent.poll()
    link = links["deploymentBase"]
    await agent.install(link)
    await agent.tell(link, "proceeding", "none", *["a line of its log"] * 48)
    await agent.tell(link, "proceeding", "none", "All Chunks Installed.")
    assert (await agent.poll())["deploymentBase"] == link  # it is offered until it is closed
    pushed = await house.pushed()
    assert (await agent.poll())["deploymentBase"] == link  # after the restart
    await agent.tell(link, "closed", "success", "Update Installed.")
    assert set(await agent.poll()) == {"configData", "installedBase"}
    await agent.identify()

    assert pushed == ["downloading", "downloaded", "updating"]
    assert await house.pushed() == ["idle", "SUCCESS"]


async def test_swupdate_fails_after_it_tried_twice(house: House) -> None:
    await house.offer()
    agent = Swupdate(house)
    link = (await agent.poll())["deploymentBase"]

    await agent.install(link)
    await agent.tell(link, "proceeding", "none", "All Chunks Installed.")
    await agent.install(link)
    await agent.tell(link, "proceeding", "none", "the script ended with 1")
    await agent.tell(link, "closed", "failure", "No suitable .swu image found")

    assert await agent.poll() == {}
    assert await house.pushed() == ["downloading", "downloaded", "updating", "idle", "FAIL"]


async def test_swupdate_gives_up_when_it_is_told_to(house: House) -> None:
    package = await house.package()
    action_id = await house.offer(package)
    agent = Swupdate(house)
    link = (await agent.poll())["deploymentBase"]
    await agent.tell(link, "proceeding", "none", "Installing Update Chunk Artifacts.")
    file = f"softwaremodules/{package.module_id}/artifacts/meter.swu"
    assert (await house.ask("GET", file, headers={"range": "bytes=0-3"})).status == 206

    await house.stop(action_id)
    cancel = (await agent.poll())["cancelAction"]
    await agent.tell(link, "proceeding", "none", *["a line of its log"] * 48)
    await agent.tell(cancel, "closed", "success", "cancellation acknowledged.")

    assert await agent.poll() == {}
    assert await house.pushed() == ["downloading", "idle", "FAIL"]
    again = await house.offer(package)
    assert (await agent.poll())["deploymentBase"].endswith(f"/{again}?c=1")
