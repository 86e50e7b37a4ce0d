"""What a failed operation of the system is called."""

import errno
import ssl

import pytest

from orchestration.skills.execution.reasons import of_connection, plain


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


TLS = ssl.SSLError(
    1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed"
)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TLS, "certificate verify failed: self-signed"),
        (OSError(errno.ECONNREFUSED, "x"), "the connection was refused"),
        (FileNotFoundError(errno.ENOENT, "x", "/secret/path"), "it does not exist"),
        (TimeoutError("timed out"), "the connection timed out"),
        (TimeoutError("lock not free after 5 s"), "lock not free after 5 s"),
        (
            caused(ValueError("Bad settings."), FileNotFoundError(2, "x")),
            "Bad settings",
        ),
        (KeyError(), "KeyError"),
    ],
)
def test_the_reason_is_the_errors_own(error, reason) -> None:
    assert plain(error) == reason


def test_the_reason_of_a_connection_is_that_of_the_system() -> None:
    refused = OSError(errno.ECONNREFUSED, "x")

    assert (
        of_connection(caused(ValueError("a"), refused)) == "the connection was refused"
    )
    assert "certificate verify failed" in of_connection(caused(ValueError("a"), TLS))


def test_an_error_that_causes_itself_has_a_reason() -> None:
    error = ValueError("a")
    error.__cause__ = error

    assert of_connection(error) == "a"
