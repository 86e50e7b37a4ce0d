from datetime import datetime
from typing import Any

from django.core.management.base import CommandParser

from execfabric.identity import services
from execfabric.identity.management.command import BY, AccountCommand
from execfabric.identity.models import Token
from execfabric.lib import clock


class Command(AccountCommand):
    help = "List the tokens: id, holder, state, created, expires, label."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "name", nargs="?", help="list only tokens of this user or agent"
        )

    def run(self, name: str | None, **_options: Any) -> None:
        at = clock.now()
        for token in services.tokens_of(BY):
            if name in {None, str(token.user), str(token.agent)}:
                self.stdout.write(_line(token, at=at))


def _line(token: Token, *, at: datetime) -> str:
    holder = token.holder_name()
    expires = f"{token.expires_at:%Y-%m-%d}" if token.expires_at else "never"
    state = token.state(at)
    created = f"{token.created_at:%Y-%m-%d}"
    return (
        f"{token.pk}  {holder:<24} {state:<8} {created}  {expires:<10}  {token.label}"
    )
