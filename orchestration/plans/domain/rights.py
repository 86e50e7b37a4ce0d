"""The rights on one plan, and what each of them includes."""

from collections.abc import Mapping
from enum import StrEnum


class PlanRight(StrEnum):
    """A right that the owner of a plan can give to users and groups."""

    VIEW = "view"  # read its revisions
    START = "start"  # start its revisions by name, without their text
    EDIT = "edit"  # add revisions, like the owner


INCLUDED_IN: Mapping[PlanRight, tuple[PlanRight, ...]] = {
    PlanRight.VIEW: (PlanRight.VIEW, PlanRight.START, PlanRight.EDIT),
    PlanRight.START: (PlanRight.START, PlanRight.EDIT),
    PlanRight.EDIT: (PlanRight.EDIT,),
}
"""The rights that include each right."""
