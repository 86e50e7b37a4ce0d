"""The columns of the registry that the audit log covers."""

from audit.history import Table
from orchestration.skills.models import Skill, SkillVersion

SKILL = Table(Skill)
VERSION = Table(SkillVersion)
