"""The error table: every refusal that can reach a family has its row there."""

import pytest

from fleetbell import errors
from fleetbell.northbound.errors import FAULTS, TABLE, Family, api_error

PROOF = {errors.AppKeyMissing, errors.ApplicationUnknown, errors.TokenInvalid, errors.RateExceeded}
ALWAYS = {errors.InputInvalid, errors.Busy, errors.StorageFull, errors.StorageFailed}

REACH: dict[Family, set[type[errors.DomainError]]] = {
    Family.LOGIN: {*ALWAYS, errors.CredentialsInvalid, errors.CredentialsMissing},
    Family.MANAGEMENT: {*ALWAYS, *PROOF, errors.CallbackUrlInvalid},
    Family.SUBSCRIPTIONS: {
        *ALWAYS,
        *PROOF,
        errors.ApplicationNotAuthorized,
        errors.PageInvalid,
        errors.CallbackUrlInvalid,
        errors.SubscriptionUnknown,
        errors.SubscriptionsTooMany,
    },
    Family.PACKAGES: {*ALWAYS, *PROOF, errors.PageInvalid, errors.PackageUnknown, errors.PackageInUse},
    Family.TASKS: {
        *ALWAYS,
        *PROOF,
        errors.PageInvalid,
        errors.PackageUnknown,
        errors.DeviceUnknown,
        errors.TaskUnknown,
        errors.ProductMismatch,
        errors.TargetsMissing,
        errors.TargetsDoubled,
        errors.TargetsTooMany,
        errors.ManufacturerMissing,
        errors.DeviceTypeMissing,
        errors.ModelMissing,
        errors.GroupUnknown,
        errors.ExecuteTypeInvalid,
        errors.WindowInvalid,
        errors.WindowReversed,
        errors.WindowPast,
        errors.WindowShort,
        errors.RetryTimesInvalid,
    },
    Family.REGISTRATION: {
        *ALWAYS,
        *PROOF,
        errors.ApplicationNotAuthorized,
        errors.NodeIdTaken,
        errors.VerifyCodeInvalid,
        errors.SecureFlagInvalid,
        errors.DeviceUnknown,
        errors.DeviceBusy,
    },
    Family.DEVICES: {
        *ALWAYS,
        *PROOF,
        errors.ApplicationNotAuthorized,
        errors.PageInvalid,
        errors.PageOrGatewayMissing,
        errors.DeviceUnknown,
        errors.DeviceBusy,
    },
    Family.GROUPS: {
        *ALWAYS,
        *PROOF,
        errors.ApplicationNotAuthorized,
        errors.PageInvalid,
        errors.GroupUnknown,
        errors.GroupNameTaken,
        errors.GroupFull,
        errors.GroupDevicesTooMany,
        errors.DeviceUnknown,
    },
    Family.MEMBERS: {
        *ALWAYS,
        *PROOF,
        errors.ApplicationNotAuthorized,
        errors.PageInvalid,
        errors.GroupUnknown,
        errors.GroupFull,
        errors.GroupDevicesTooMany,
        errors.DeviceUnknown,
    },
    Family.NOTIFICATIONS: {*ALWAYS, *PROOF, errors.PageInvalid, errors.CursorExpired},
}

# Refusals of other doors. A new refusal has to be put here or into a family's rows.
ELSEWHERE = {
    errors.ApplicationTaken,
    errors.ApplicationInUse,
    errors.CertificateInvalid,
    errors.CertificateUnknown,
    errors.SigningKeyUnknown,
    errors.SigningKeyRotating,
    errors.SecretRotating,
    errors.ActionUnknown,
    errors.ActionEnded,
    errors.ApiTokenUnknown,
    errors.EndpointUnknown,
    errors.DeliveryUnknown,
    errors.NotificationUnknown,
    errors.ReplayTooLarge,
}


@pytest.mark.parametrize("family", Family)
def test_a_family_has_a_row_for_every_refusal_that_can_reach_it_and_no_other(family: Family) -> None:
    assert set(TABLE[family]) == REACH[family]
    assert family in FAULTS


def test_every_refusal_of_the_platform_is_placed() -> None:
    placed = set().union(*REACH.values()) | ELSEWHERE
    kinds = errors.DomainError.__subclasses__()  # those that a door has made for itself cannot come here

    assert {kind for kind in kinds if kind.__module__ == errors.__name__} == placed


def test_a_callback_url_keeps_the_odd_words_of_the_original() -> None:
    """The original calls a bad callback URL an internal server error; so do we."""
    row = api_error(Family.MANAGEMENT, errors.CallbackUrlInvalid("no port"))

    assert row is not None
    assert (row.status, row.code, row.sentence) == (400, "100222", "Internal server error.")


# The sentences of the page on subscribing to management data, word for word.
SUBSCRIBING = {
    ("400", "100222", "Internal server error."),
    ("400", "100228", "The application input is invalid."),
    ("403", "100203", "The application does not exist."),
    (
        "403",
        "1010009",
        "The application calls the API at a frequency that exceeds the flow control threshold.",
    ),
    ("403", "1010005", "Invalid access token or application ID."),
    ("500", "100229", "Failed to obtain the AppKey from the message header."),
    ("500", "100244", "Failed to register the route."),
}


def test_subscribing_has_the_documented_rows_word_for_word() -> None:
    rows = [*TABLE[Family.MANAGEMENT].values(), FAULTS[Family.MANAGEMENT]]

    assert {(str(row.status), row.code, row.sentence) for row in rows if row.status != 503} == SUBSCRIBING


@pytest.mark.parametrize("family", Family)
def test_a_row_has_a_documented_status_and_a_code_of_digits(family: Family) -> None:
    for row in [*TABLE[family].values(), FAULTS[family]]:
        assert row.status in (200, 400, 401, 403, 404, 409, 410, 500, 503)
        assert row.code.isdecimal()
