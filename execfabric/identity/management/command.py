"""The base of the account commands."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from execfabric.lib.actor import system
from execfabric.lib.refusal import Refusal, RefusalKind

BY = system("cli")
EXIT = {
    RefusalKind.CONFLICT: 1,
    RefusalKind.LIMITED: 1,
    RefusalKind.UNAVAILABLE: 1,
    RefusalKind.INVALID: 2,
    RefusalKind.DENIED: 4,
    RefusalKind.MISSING: 5,
}
LOCAL = "http://127.0.0.1:8000"


class AccountCommand(BaseCommand):
    """A command that reports a refusal in one line and by its exit code."""

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        try:
            self.run(**options)
        except Refusal as refusal:
            raise CommandError(
                f"{refusal.code}: {refusal}", returncode=EXIT[refusal.kind]
            ) from refusal

    def run(self, *args: Any, **options: Any) -> None:
        """Do the work; the arguments of the command are named parameters."""
        raise NotImplementedError


def address(link: str) -> str:
    """Return the absolute URL of a password link."""
    embedded = settings.EMBEDDED.url if settings.EMBEDDED else ""
    base = settings.BASE_URL or embedded or LOCAL
    return base.rstrip("/") + reverse("password_link", args=[link])
