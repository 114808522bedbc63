"""What several calls of devices have in common, on the wire."""

from server.tests.northbound.door import DEVICES, REGISTER, Door, refused


async def test_a_device_that_is_not_there_has_404_and_its_code_everywhere(door: Door) -> None:
    for method, path in (("PUT", DEVICES), ("GET", REGISTER), ("PUT", REGISTER)):
        sentence = refused(await door.call(method, f"{path}/dev-9", json={}), 404, "100403")
        assert sentence.startswith("The device is not existed. ")
