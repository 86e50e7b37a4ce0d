"""Refuse names and paths that git or a reader could misunderstand."""

from collections.abc import Collection, Mapping, Sequence

from execfabric.lib.schema import compiled
from orchestration.skills.domain.outcome import refused

# Control, blank and invisible characters, and those that change the text direction.
_HIDDEN = (
    r"\u0000-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff0-\uffff\ud800-\udfff"
)
NAME = (
    r"^(?!-|refs/|@$|(?:[A-Z_]+_)?HEAD$|(?:[0-9a-f]{40}|[0-9a-f]{64})$)"
    r"(?![./])(?!.*(?:\.\.|@\{|//|/\.|\.lock(?:/|$)|[/.]$))"
    rf"[^{_HIDDEN} ~^:?*\[\\]+$"
)
"""Names of branches and tags, a subset of those in `git check-ref-format --branch`.

Names with another meaning (`HEAD`, `refs/...`, the id of an object) and invisible
characters are not allowed. The contract has the same patterns.
"""
PATH = (
    r"^(?!/)(?!.*(?://|/$))(?!(?:.*/)?(?:\.\.?(?:/|$)|\.[gG][iI][tT](?![\w-])|[gG][iI][tT]~))"
    rf"[^{_HIDDEN}\\]+$"
)
"""Paths in a repository: relative, without empty parts, `.`, `..` or `.git`."""
PLAIN = frozenset({"100644", "100755"})

_NAME, _PATH = compiled(NAME), compiled(PATH)


def check_name(name: str) -> None:
    """Check the name of a branch or tag.

    :raises CallFailed: when it is not allowed
    """
    if not _NAME.match(name):
        message = f"Invalid name {name!r} of a branch or tag. Use another name."
        raise refused("git.bad_name", message)


def check_paths(files: Collection[str], deletions: Sequence[str]) -> None:
    """Check paths on their own and against each other.

    :raises CallFailed: with the paths that are invalid or in conflict
    """
    bad = [path for path in [*files, *deletions] if not _PATH.match(path)]
    if bad:
        message = (
            f"Invalid path {_listed(bad)}. Use a relative path without `..` and `.git`."
        )
        raise refused("git.bad_path", message)
    twice = sorted({path for path in deletions if path in files})
    if twice or len(set(deletions)) != len(deletions):
        what = (
            f"is written and deleted: {_listed(twice)}"
            if twice
            else "is duplicate in `delete`"
        )
        message = f"Cannot commit: a path {what}. Remove one of them."
        raise refused("git.bad_path", message)
    inside = [path for path in files if any(part in files for part in _above(path))]
    if inside:
        message = f"Cannot commit: {_listed(inside)} is in a folder that is also a file. Use other paths."
        raise refused("git.path_conflict", message)


def check_against(
    modes: Mapping[str, str], files: Collection[str], deletions: Sequence[str]
) -> None:
    """Refuse changes that would do more or less to a tree than they name.

    `modes` are those of every path in the tree.

    :raises CallFailed: when a path to delete is missing, or a file would replace
        something that is not deleted by name
    """
    missing = [path for path in deletions if path not in modes]
    if missing:
        message = f"Cannot delete {_listed(missing)}: no such file on the branch. Nothing was changed."
        raise refused("git.no_path", message)
    gone = set(deletions)
    remaining = {path: mode for path, mode in modes.items() if path not in gone}
    folders = {folder for path in remaining for folder in _above(path)}
    replaced = sorted(
        {part for path in files for part in _above(path) if part in remaining}
    )
    replaced += [path for path in files if path in folders]
    if replaced:
        message = (
            f"Cannot commit: this would remove {_listed(replaced)}. Nothing was changed."
            " Add the path to `delete` if you want that."
        )
        raise refused("git.path_conflict", message)
    special = [path for path in files if remaining.get(path, "100644") not in PLAIN]
    if special:
        message = f"Cannot write {_listed(special)}: it is a link or a submodule. Nothing was changed."
        raise refused("git.not_plain", message)


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(repr(path) for path in paths[:5]) + (", ..." if paths[5:] else "")
