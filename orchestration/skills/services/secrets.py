"""Read secrets by name, in worker processes only."""

import logging
import os
import re

from django.conf import settings

from orchestration.skills.errors import SecretMissing, SecretsClosed

LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_open_in = 0
"""Id of the process that may read secrets; 0 for none."""


def open_here() -> None:
    """Allow this process to read secrets. Worker processes call it at start-up."""
    global _open_in  # noqa: PLW0603  a fact about the process
    _open_in = os.getpid()


def read(name: str) -> str:
    """Return a secret: `EXECFABRIC_SECRET_<NAME>`, else the file of that name.

    :raises SecretsClosed: in a process that is not a worker
    :raises SecretMissing: when there is none, or the name is invalid
    """
    if _open_in != os.getpid():
        raise SecretsClosed(secret=name)
    if not _NAME.fullmatch(name):
        LOG.warning("%r is not a valid name for a secret", name)
        raise SecretMissing
    variable = "EXECFABRIC_SECRET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
    if variable in os.environ:
        return os.environ[variable]
    path = settings.SECRETS_DIR / name
    if path.is_file():
        return str(path.read_text(encoding="utf-8")).strip()
    # Proposers can read the refusal, but names of secrets are for admins.
    LOG.warning("the secret %s is not set on this host", name)
    raise SecretMissing
