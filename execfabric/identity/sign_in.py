"""Limit failed sign-ins per account, per address and per known browser.

A browser that has signed in to an account before has its own limit. So failed sign-ins
from other browsers never lock out the owner of an account.
"""

import ipaddress
import secrets

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

from execfabric.infra import throttle
from execfabric.infra.throttle import RateLimit, Try
from execfabric.lib.refusal import Limited

MINUTES = 60
HERE = RateLimit("sign-in-here", 5, 5 * MINUTES)
"""Limit for one account from one address."""
ACCOUNT = RateLimit("sign-in-account", 50, 15 * MINUTES)
"""Limit for one account from all unknown browsers together."""
ADDRESS = RateLimit("sign-in-address", 100, 5 * MINUTES)
"""Limit for all accounts from one address, which a company may share."""
KNOWN = RateLimit("sign-in-known", 10, 5 * MINUTES)
"""Limit for one account from a browser that has signed in to it before."""
REMEMBERED = 365 * 24 * 3600
MOST_ACCOUNTS = 10
"""Maximum number of accounts in the cookie of a known browser."""
SALT = "execfabric.known-browser"


class TooManyFailures(Limited):
    """Too many failed sign-ins."""

    code = "auth.too_many_failures"

    def __init__(self, seconds: int) -> None:
        sentence = (
            f"Too many failed sign-ins. Try again in {throttle.in_words(seconds)}."
        )
        super().__init__(sentence, retry_after=seconds)


def begin(request: HttpRequest, username: str, address: str) -> list[Try]:
    """Count a sign-in before the password is checked.

    :raises TooManyFailures: if a limit is reached
    """
    name = username.strip().casefold()
    browser, accounts = _known(request)
    place = network(address)
    # From narrow to wide: a refusal by a narrow limit does not count for a wider one.
    limits = [(HERE, f"{place} {name}"), (ADDRESS, place), (ACCOUNT, name)]
    if name in accounts:
        limits = [(KNOWN, f"{browser} {name}")]
    tries = []
    for limit, key in limits:
        tried = throttle.take(limit, key)
        if tried.wait:
            raise TooManyFailures(tried.wait)
        tries.append(tried)
    return tries


def remember(request: HttpRequest, response: HttpResponse, username: str) -> None:
    """Set the cookie that marks the browser as known for this account."""
    browser, accounts = _known(request)
    name = username.strip().casefold()
    names = [name, *(other for other in accounts if other != name)][:MOST_ACCOUNTS]
    response.set_cookie(
        settings.KNOWN_BROWSER_COOKIE_NAME,
        signing.dumps([browser or secrets.token_urlsafe(12), names], salt=SALT),
        max_age=REMEMBERED,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def network(address: str) -> str:
    """Return the part of an address that one client cannot choose freely."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:  # noqa: PLR2004  IPv4
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def _known(request: HttpRequest) -> tuple[str, list[str]]:
    """Return the id of the browser and the accounts that signed in with it."""
    text = request.COOKIES.get(settings.KNOWN_BROWSER_COOKIE_NAME, "")
    try:
        browser, accounts = signing.loads(text, salt=SALT, max_age=REMEMBERED)
    except (signing.BadSignature, ValueError, TypeError):
        return "", []
    return str(browser), [str(name) for name in accounts]
