"""Model fields that several apps use."""

from typing import TYPE_CHECKING, TypeVar

from django.db import models

from execfabric.lib.ids import uuid7

if TYPE_CHECKING:
    S = TypeVar("S")
    G = TypeVar("G")

    class Uuid7Key(models.UUIDField[S, G]): ...

else:

    class Uuid7Key(models.UUIDField):
        """A primary key that sorts by time of creation.

        Migrations see a plain UUID column, because a migration must not import the
        code that makes the default.
        """

        def __init__(self, **options: object) -> None:
            fixed = {"primary_key": True, "default": uuid7, "editable": False}
            super().__init__(**{**options, **fixed})

        def deconstruct(self) -> tuple[str, str, list[object], dict[str, object]]:
            """Describe the column for a migration, without its default."""
            name, _, positional, options = super().deconstruct()
            del options["default"]
            return name, "django.db.models.UUIDField", positional, options
