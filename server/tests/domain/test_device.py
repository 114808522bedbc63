"""Products that fit, and versions that devices tell."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetbell.domain.device import Product, version_told
from fleetbell.domain.subtask import UpgradeKind
from fleetbell.testing.makers import a_device

parts = st.sampled_from(["", "a", "b"])
products = st.builds(Product, parts, parts, parts)
SOFTWARE, FIRMWARE = UpgradeKind.SOFTWARE, UpgradeKind.FIRMWARE


@given(products, products)
def test_products_fit_each_other_both_ways(one: Product, other: Product) -> None:
    assert one.fits(other) == other.fits(one)


@given(products)
def test_a_product_fits_itself_and_the_unknown_one(product: Product) -> None:
    assert product.fits(product)
    assert product.fits(Product())


@pytest.mark.parametrize(
    "other",
    [
        Product("Other", "WaterMeter", "WM10"),
        Product("Acme", "GasMeter", "WM10"),
        Product("Acme", "WaterMeter", "WM20"),
        Product("", "", "wm10"),
    ],
)
def test_one_part_that_differs_is_enough(other: Product) -> None:
    assert not Product("Acme", "WaterMeter", "WM10").fits(other)


def test_a_device_has_a_version_of_each_kind() -> None:
    device = a_device(sw_version="1.0", fw_version="F1.0")

    assert (device.version(SOFTWARE), device.version(FIRMWARE)) == ("1.0", "F1.0")


@pytest.mark.parametrize(
    ("attributes", "kind", "version"),
    [
        ({"sw_version": "2", "fw_version": "3", "release": "1"}, SOFTWARE, "2"),
        ({"sw_version": "2", "fw_version": "3", "release": "1"}, FIRMWARE, "3"),
        ({"release": "1"}, SOFTWARE, "1"),
        ({"release": "1"}, FIRMWARE, "1"),
        ({"sw_version": "", "release": "1"}, SOFTWARE, "1"),
        ({"sw_version": "2"}, FIRMWARE, None),
        ({"version": "1", "release": ""}, SOFTWARE, None),
        ({}, SOFTWARE, None),
    ],
)
def test_a_version_is_told_by_its_own_key_else_by_the_one_that_is_set(
    attributes: Mapping[str, str], kind: UpgradeKind, version: str | None
) -> None:
    assert version_told(attributes, kind, fallback_key="release") == version
