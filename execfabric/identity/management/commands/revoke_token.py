from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser

from execfabric.identity import services
from execfabric.identity.management.command import BY, AccountCommand
from execfabric.lib import clock


class Command(AccountCommand):
    help = "Revoke a token. Every later request with it is refused."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=UUID, help="id of the token, from `list_tokens`")

    def run(self, **options: Any) -> None:
        token = services.revoke_token(token_id=options["id"], by=BY, at=clock.now())
        self.stdout.write(f"Revoked {token.pk}.")
