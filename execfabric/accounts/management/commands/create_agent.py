"""Make an agent and its token; the token is printed once, on the last line."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from execfabric.accounts import services
from execfabric.accounts.errors import AccountUnknown
from execfabric.lib import clock
from execfabric.lib.actor import system


class Command(BaseCommand):
    help = (
        "Make an agent that answers to a person. Its token can propose and read;"
        " it can never decide, control a run or change the registry."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--owner", required=True, help="username of the person")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            agent, text = services.create_agent(
                name=options["name"],
                owner=options["owner"],
                by=system("command"),
                at=clock.now(),
            )
        except AccountUnknown as error:
            raise CommandError(f"{error.code}: {error}", returncode=2) from error
        owner = agent.owner.get_username()
        if owner != options["owner"]:
            self.stderr.write(
                f"The agent {agent.name} already exists; it answers to {owner}."
            )
        self.stdout.write(text)
