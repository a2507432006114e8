"""Reports sign-ins that fail, by the error that refuses them."""

from collections.abc import Iterator
from contextlib import contextmanager

from hythe.hub.errors import AccountBlocked, HubError, ProviderDown, SecondFactorNeeded, SignInNeeded, TooManyAttempts
from hythe.telemetry.sign_in_failures import THROTTLED, WRONG, sign_in_failures

REFUSED = "refused"


def reason_of(error: HubError) -> str:
    """Return why a sign-in failed, in a word for logs and metrics."""
    match error:
        case TooManyAttempts():
            return THROTTLED
        case AccountBlocked():
            return "blocked"
        case SecondFactorNeeded():
            return "second factor needed"
        case SignInNeeded():
            return WRONG
        case ProviderDown():
            return "provider unavailable"
    return REFUSED


@contextmanager
def reporting(method: str, account: str, address: str) -> Iterator[None]:
    """Report an error of the hub that ends the block. A first factor that a second one follows is no failure."""
    try:
        yield
    except HubError as error:
        if not (isinstance(error, SecondFactorNeeded) and error.state):
            sign_in_failures.report(account, address, method, reason_of(error))
        raise
