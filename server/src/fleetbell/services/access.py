"""Who may call, and how often: tokens and flow control."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleetbell.clock import Clock
from fleetbell.domain.application import Application, Token, digest
from fleetbell.errors import (
    AppKeyMissing,
    ApplicationUnknown,
    CredentialsInvalid,
    CredentialsMissing,
    RateExceeded,
    TokenInvalid,
)
from fleetbell.ids import new_token
from fleetbell.ports.store import Store, Transaction


@dataclass(frozen=True, slots=True)
class Grant:
    """What a login or a refresh gives. The platform keeps only digests of the two tokens."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in_s: int  # of the access token


class Access:
    """Tokens are random, kept as digests, and last until they expire or are logged out.

    A login leaves earlier tokens as they are, so that one more server of an application does not break the
    first; a refresh token stays good for the same reason (``docs/decisions``, "A login breaks nobody").
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        token_s: int = 3600,
        refresh_s: int = 86_400,
        calls_per_window: int = 100,
        window_s: float = 60.0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._token_s = token_s
        self._refresh_s = refresh_s
        self._flow = FlowControl(calls_per_window=calls_per_window, window_s=window_s)
        self._pulls = FlowControl(calls_per_window=calls_per_window, window_s=window_s)

    async def login(self, application_id: str, secret: str) -> Grant:
        """New tokens for an application that shows its login secret.

        Raises:
            CredentialsMissing: one of the two is empty.
            CredentialsInvalid: unknown application or wrong secret.
        """
        return await self._grant(self._proven(application_id, secret))

    async def refresh(self, application_id: str, secret: str, refresh_token: str) -> Grant:
        """New tokens for a refresh token that has not expired.

        Raises:
            CredentialsMissing: one of the three is empty.
            CredentialsInvalid: unknown application, wrong secret, or a refresh token that is unknown,
            expired or another application's.
        """
        if not refresh_token:
            raise CredentialsMissing("refreshToken is missing; send the one that the last login returned")
        application = self._proven(application_id, secret)
        token = self._store.reading.token(digest(refresh_token))
        if token is None or token.access or not self._good(token, application_id):
            raise CredentialsInvalid("the refresh token is unknown or has expired; log in again")
        return await self._grant(application)

    async def logout(self, access_token: str) -> None:
        """Forget the token. A token that is not there is forgotten already."""
        if not access_token:
            raise CredentialsMissing("accessToken is missing; send the token that is to be forgotten")
        token = self._store.reading.token(digest(access_token))
        if token is not None and token.access:
            await self._store.write(lambda tx: tx.delete_token(token.token_digest))

    def caller(self, application_id: str | None, bearer: str | None, *, pulls: bool = False) -> Application:
        """The application that makes this call, which is counted by its flow control: one that ``pulls``
        notifications by an allowance of its own, as large as that of all other calls.

        Raises:
            AppKeyMissing, ApplicationUnknown: by ``application_id``.
            TokenInvalid: no token, or one that is unknown, expired or another application's.
            RateExceeded: one call too many; a call that fails to prove itself is not counted.
        """
        if not application_id:
            raise AppKeyMissing("the header app_key is missing; it carries the application's id")
        application = self._store.reading.application(application_id)
        if application is None:
            raise ApplicationUnknown("the header app_key names no application; check the application's id")
        if not bearer:
            raise TokenInvalid(
                "the header Authorization is missing; it carries 'Bearer ' and an access token"
            )
        if not self.is_good(application_id, bearer):
            raise TokenInvalid("the access token is unknown or has expired; log in again")
        flow = self._pulls if pulls else self._flow
        flow.count(application, at_ms=self._clock.now_ms())
        return application

    def is_good(self, application_id: str, bearer: str) -> bool:
        """Whether this is an access token of the application, now. No call is counted."""
        token = self._store.reading.token(digest(bearer))
        return token is not None and token.access and self._good(token, application_id)

    def _proven(self, application_id: str, secret: str) -> Application:
        if not application_id or not secret:
            raise CredentialsMissing("appId and secret are both needed, and neither may be empty")
        application = self._store.reading.application(application_id)
        if application is None or not application.accepts(secret, at_ms=self._clock.now_ms()):
            is_other = secret.startswith("whsec_")
            remedy = (
                "whsec_ marks the one that signs pushes, log in with the other" if is_other else "check both"
            )
            raise CredentialsInvalid(f"no application has this id and this secret; {remedy}")
        return application

    def _good(self, token: Token, application_id: str) -> bool:
        return token.application_id == application_id and self._clock.now_ms() < token.expires_at_ms

    async def _grant(self, application: Application) -> Grant:
        at_ms = self._clock.now_ms()
        grant = Grant(new_token(), new_token(), self._token_s)
        tokens = (
            Token(
                token_digest=digest(grant.access_token),
                application_id=application.application_id,
                access=True,
                expires_at_ms=at_ms + self._token_s * 1000,
            ),
            Token(
                token_digest=digest(grant.refresh_token),
                application_id=application.application_id,
                access=False,
                expires_at_ms=at_ms + self._refresh_s * 1000,
            ),
        )

        def keep(tx: Transaction) -> None:
            tx.delete_expired_tokens(at_ms=at_ms)
            tx.add_tokens(tokens)

        await self._store.write(keep)
        return grant


class FlowControl:
    """Counts calls by application: so many in a window, which begins with the first call after the last one.

    Exact to one call, and of the same small size whatever the allowance.
    """

    def __init__(self, *, calls_per_window: int, window_s: float) -> None:
        self._calls_per_window = calls_per_window
        self._window_ms = round(window_s * 1000)
        self._windows: dict[str, tuple[int, int]] = {}  # begin and calls by application id

    def count(self, application: Application, *, at_ms: int) -> None:
        """Count one call, or raise RateExceeded when it is one too many."""
        most = application.calls_per_window
        if most is None:
            most = self._calls_per_window
        begin_ms, calls = self._windows.get(application.application_id, (at_ms, 0))
        if at_ms >= begin_ms + self._window_ms:
            begin_ms, calls = at_ms, 0
        if calls >= most:
            left_ms = begin_ms + self._window_ms - at_ms
            raise RateExceeded(
                f"{most} calls in {self._window_ms / 1000:g} s are allowed; call again in a while",
                retry_after_s=-(-left_ms // 1000),
            )
        self._windows[application.application_id] = (begin_ms, calls + 1)
