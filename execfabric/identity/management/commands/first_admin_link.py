from typing import Any

from execfabric.identity import links, people
from execfabric.identity.management.command import BY, AccountCommand, address
from execfabric.lib import clock


class Command(AccountCommand):
    help = (
        "Print a one-time link that creates the first admin. Print nothing if an admin"
        " with a password exists. The link replaces an older one."
    )

    def run(self, **options: Any) -> None:
        at = clock.now()
        people.ensure_roles(by=BY, at=at)
        link = links.create_first_admin_link(by=BY, at=at)
        if link:
            self.stdout.write(address(link))
