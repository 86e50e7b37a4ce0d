"""Secrets by name: read at the last moment, from the environment or the secrets folder."""

import logging
import os
import re

from django.conf import settings

from orchestration.skills.errors import SecretMissing

LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def read(name: str) -> str:
    """The value of a secret: `EXECFABRIC_SECRET_<NAME>`, else a file of that name.

    :raises SecretMissing: when there is none, or the name is not a plain one
    """
    if not _NAME.fullmatch(name):
        LOG.warning("%r is not a valid name for a secret", name)
        raise SecretMissing
    variable = "EXECFABRIC_SECRET_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
    if variable in os.environ:
        return os.environ[variable]
    path = settings.SECRETS_DIR / name
    if path.is_file():
        return str(path.read_text(encoding="utf-8")).strip()
    # Proposers read the refusal, and names of secrets are for admins.
    LOG.warning("the secret %s is not set on this host", name)
    raise SecretMissing
