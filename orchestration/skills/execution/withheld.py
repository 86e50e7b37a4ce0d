"""Withhold the values of secrets from a dry run, but not their names."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from orchestration.skills.execution.calls import references, replaced

MARK = "$withheld"
SECRET_WITHHELD = "skill.secret_withheld"  # noqa: S105 - a code, no secret
"""Code of the failure of a dry run that reads a withheld secret."""


class SecretWithheld(BaseException):
    """A dry run read a withheld secret.

    Not an `Exception`: a handler's own `except Exception` must not hide it.
    """


class Guarded(Mapping[str, Any]):
    """Part of a configuration that raises when a withheld secret is read."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if _has_mark(value) and not isinstance(value, Guarded):
            message = f"The dry run reads the secret {key!r} of the configuration. It is only available in the run."
            raise SecretWithheld(message)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def withhold(config: Mapping[str, Any], *, but: Collection[str]) -> dict[str, Any]:
    """Replace each secret reference by a mark, except below the keys in `but`."""
    return {
        key: value
        if key in but
        else replaced(value, "$secret", lambda name: {MARK: name})
        for key, value in config.items()
    }


def guarded(value: Any) -> Any:
    """Return a configuration whose marked secrets raise when they are read."""
    if not isinstance(value, Mapping) or value.keys() == {MARK}:
        return value
    inner = {key: guarded(item) for key, item in value.items()}
    return Guarded(inner) if any(map(_has_mark, inner.values())) else inner


def secret_names(value: Any) -> set[str]:
    return set(map(str, references(value, "$secret")))


def _has_mark(value: Any) -> bool:
    if isinstance(value, Guarded):
        return True
    if isinstance(value, Mapping):
        return value.keys() == {MARK}
    return isinstance(value, list) and any(_has_mark(guarded(item)) for item in value)
