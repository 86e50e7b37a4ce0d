"""Which columns of the registry the record covers."""

from audit.history import Table
from orchestration.skills.models import Skill, SkillVersion

SKILL = Table(Skill, key=("id",), exempt={})
VERSION = Table(SkillVersion, key=("id",), exempt={})
