"""Let the assertions of the contracts explain themselves, as those of test modules do."""

import pytest

pytest.register_assert_rewrite("fleetbell.testing.contract", "fleetbell.testing.store_model")
