"""Pages of lists in the API, by the id of the last row."""

from typing import Annotated, Any
from uuid import UUID

from django.db.models import QuerySet
from ninja import Field, Schema


class PageQuery(Schema):
    """The cursor of the next page, and the size of a page."""

    after: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


def page_of(
    rows: "QuerySet[Any]", query: PageQuery, *, newest_first: bool = False
) -> dict[str, Any]:
    """Return one page of rows and the cursor of the next one; ids grow with time."""
    if query.after:
        is_next = "pk__lt" if newest_first else "pk__gt"
        rows = rows.filter(**{is_next: query.after})
    items = list(rows.order_by("-pk" if newest_first else "pk")[: query.limit])
    is_full = len(items) == query.limit
    return {"items": items, "next": items[-1].pk if is_full else None}
