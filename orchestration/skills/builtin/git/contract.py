"""What the skill `git-operations` promises."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestration.skills.builtin.git.rules import NAME, PATH
from orchestration.skills.builtin.shapes import Schema, flag, listing, record, text
from orchestration.skills.domain.contract import (
    FILE_SCHEMA,
    ActionContract,
    DryRunKind,
    EffectClass,
    RetryRule,
    Risk,
    SkillContract,
)

CREATE_BRANCH = "git-operations.create-branch@1"
DELETE_BRANCH = "git-operations.delete-branch@1"
DELETE_DEFAULT_BRANCH = "git-operations.delete-default-branch@1"
COMMIT_FILES = "git-operations.commit-files@1"
REVERT = "git-operations.revert@1"
TAG = "git-operations.tag@1"
UNTAG = "git-operations.untag@1"

_REPOSITORY = text("Repository", "Name in the configuration; else the default one.")
_BRANCH = text("Branch", "Name of the branch.", pattern=NAME)
_PATH = {"pattern": PATH}
_OID = "^([0-9a-f]{40}|[0-9a-f]{64})$"
_COMMITTED = record(
    {
        "branch": text("Branch", "Where the commit is."),
        "commit": text("Commit", "The new commit."),
        "parent": text("Parent", "The commit before it."),
        "paths": listing("Paths", "What it changed.", {"type": "string"}),
        "repository": text("Repository", "Name in the configuration."),
    },
    ["branch", "commit", "parent", "paths", "repository"],
)


def _action(
    name: str,
    summary: str,
    *,
    handler: str,
    risk: Risk,
    inputs: Schema,
    outputs: Schema,
    undo: str = "",
    undo_params: Mapping[str, Any] | None = None,
) -> ActionContract:
    return ActionContract(
        name=name,
        summary=summary,
        handler=handler,
        input_schema=inputs,
        output_schema=outputs,
        effect_class=EffectClass.IDEMPOTENT,
        risk=risk,
        timeout_s=120,
        retry=RetryRule(attempts=3),
        undo=undo,
        undo_params=undo_params or {},
        dry_run=DryRunKind.SIMULATED,
        checks_target=True,
    )


_CREATE_BRANCH = _action(
    "create-branch",
    "Create the branch {name}.",
    handler=CREATE_BRANCH,
    risk=Risk.LOW,
    inputs=record(
        {
            "name": text("Name", "Of the new branch.", pattern=NAME),
            "from": text("From", "Commit, branch or tag to start at (default HEAD)."),
            "repository": _REPOSITORY,
        },
        ["name"],
    ),
    outputs=record(
        {
            "branch": text("Branch", "Its name."),
            "commit": text("Commit", "Where it stands."),
            "repository": text("Repository", "Name in the configuration."),
        },
        ["branch", "commit", "repository"],
    ),
    undo="delete-branch",
    undo_params={
        "name": "$self.output.branch",
        "commit": "$self.output.commit",
        "repository": "$self.output.repository",
    },
)

_DELETE_BRANCH = _action(
    "delete-branch",
    "Delete the branch {name}.",
    handler=DELETE_BRANCH,
    risk=Risk.MEDIUM,
    inputs=record(
        {
            "name": text("Name", "Of the branch.", pattern=NAME),
            "commit": text("Commit", "Only if it still stands here.", pattern=_OID),
            "repository": _REPOSITORY,
        },
        ["name"],
    ),
    outputs=record(
        {
            "branch": text("Branch", "Its name."),
            "deleted": flag("Deleted", "No when there was none."),
            "commit": {
                "type": ["string", "null"],
                "title": "Commit",
                "description": "Where it stood, if it was there.",
            },
            "repository": text("Repository", "Name in the configuration."),
        },
        ["branch", "deleted", "commit", "repository"],
    ),
    undo="create-branch",
    undo_params={
        "name": "$self.output.branch",
        "from": "$self.output.commit",
        "repository": "$self.output.repository",
    },
)

_DELETE_DEFAULT_BRANCH = replace(
    _DELETE_BRANCH,
    name="delete-default-branch",
    summary="Delete the default branch {name}.",
    handler=DELETE_DEFAULT_BRANCH,
    risk=Risk.HIGH,
)

_COMMIT_FILES = _action(
    "commit-files",
    "Commit files to the branch {branch}: {message}",
    handler=COMMIT_FILES,
    risk=Risk.MEDIUM,
    inputs=record(
        {
            "branch": _BRANCH,
            "message": text("Message", "Of the commit.", minLength=1),
            "files": {
                "type": "object",
                "title": "Files",
                "description": "Path in the repository, and its text or a file.",
                "propertyNames": _PATH,
                "additionalProperties": {"anyOf": [{"type": "string"}, FILE_SCHEMA]},
            },
            "delete": listing(
                "Delete", "Paths to remove.", {"type": "string", **_PATH}
            ),
            "repository": _REPOSITORY,
        },
        ["branch", "message"],
    ),
    outputs=_COMMITTED,
    undo="revert",
    undo_params={
        "branch": "$self.output.branch",
        "commit": "$self.output.commit",
        "repository": "$self.output.repository",
    },
)

_REVERT = _action(
    "revert",
    "Take back the commit {commit} by a new commit on {branch}.",
    handler=REVERT,
    risk=Risk.MEDIUM,
    inputs=record(
        {
            "branch": _BRANCH,
            "commit": text("Commit", "What to take back.", minLength=1),
            "message": text("Message", "Of the new commit."),
            "repository": _REPOSITORY,
        },
        ["branch", "commit"],
    ),
    outputs=_COMMITTED,
)

_TAG = _action(
    "tag",
    "Tag {target} as {name}.",
    handler=TAG,
    risk=Risk.MEDIUM,
    inputs=record(
        {
            "name": text("Name", "Of the tag.", pattern=NAME),
            "target": text("Target", "Commit or branch to tag (default HEAD)."),
            "message": text("Message", "Of the tag."),
            "repository": _REPOSITORY,
        },
        ["name"],
    ),
    outputs=record(
        {
            "tag": text("Tag", "Its name."),
            "object": text("Object", "The tag object."),
            "commit": text("Commit", "What is tagged."),
            "repository": text("Repository", "Name in the configuration."),
        },
        ["tag", "object", "commit", "repository"],
    ),
    undo="untag",
    undo_params={
        "name": "$self.output.tag",
        "object": "$self.output.object",
        "repository": "$self.output.repository",
    },
)

_UNTAG = _action(
    "untag",
    "Remove the tag {name}.",
    handler=UNTAG,
    risk=Risk.MEDIUM,
    inputs=record(
        {
            "name": text("Name", "Of the tag.", pattern=NAME),
            "object": text("Object", "Only if it is this one.", pattern=_OID),
            "repository": _REPOSITORY,
        },
        ["name"],
    ),
    outputs=record(
        {
            "tag": text("Tag", "Its name."),
            "deleted": flag("Deleted", "No when there was none."),
            "repository": text("Repository", "Name in the configuration."),
        },
        ["tag", "deleted", "repository"],
    ),
)

SKILL = SkillContract(
    slug="git-operations",
    version="1.1.0",
    name="Git operations",
    description="Branches, commits and tags in local repositories, each with its undo.",
    domain="engineering",
    actions=(
        _CREATE_BRANCH,
        _DELETE_BRANCH,
        _DELETE_DEFAULT_BRANCH,
        _COMMIT_FILES,
        _REVERT,
        _TAG,
        _UNTAG,
    ),
    config_schema=record(
        {
            "repository": text("Repository", "Path of the default repository."),
            "repositories": {
                "type": "object",
                "title": "Repositories",
                "description": "Name and path of further repositories.",
                "additionalProperties": {"type": "string"},
            },
            "author": record(
                {
                    "name": text("Name", "Of the author of commits."),
                    "email": text("E-mail", "Of the author of commits."),
                }
            ),
        }
    ),
    allowed=(
        "Create, move forward and delete branches and tags of configured repositories.",
        "Add commits, and take them back by further commits.",
    ),
    forbidden=(
        "Rewrite history, push, fetch, or run hooks.",
        "Touch a working tree, or a branch that is checked out.",
    ),
)
