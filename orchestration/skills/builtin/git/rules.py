"""Names and paths that git, or a person who reads them, could take for something else."""

from collections.abc import Collection, Mapping, Sequence

from execfabric.lib.schema import compiled
from orchestration.skills.builtin.git.repository import GitFailed

# Control, blank and invisible characters, and those that change the reading order.
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
"""Names of branches and tags: those of `git check-ref-format --branch`, and fewer.

Not allowed either are names that git reads as something else (`HEAD`, `refs/...`, the
id of an object), and characters that are not visible.
"""
PATH = (
    r"^(?!/)(?!.*(?://|/$))(?!(?:.*/)?(?:\.\.?(?:/|$)|\.[gG][iI][tT](?![\w-])|[gG][iI][tT]~))"
    rf"[^{_HIDDEN}\\]+$"
)
"""Paths in a repository: relative, without empty parts, `.`, `..` or `.git`."""
PLAIN = frozenset({"100644", "100755"})

_NAME, _PATH = compiled(NAME), compiled(PATH)


def check_name(name: str) -> None:
    """Refuse a name of a branch or tag that could be taken for something else.

    :raises GitFailed: when it could be
    """
    if not _NAME.match(name):
        message = f"{name!r} is not a valid name for a branch or tag."
        raise GitFailed("git.bad_name", message)


def check_paths(files: Collection[str], deletions: Sequence[str]) -> None:
    """Refuse paths that git would drop, or that contradict one another.

    :raises GitFailed: with every such path
    """
    bad = [path for path in [*files, *deletions] if not _PATH.match(path)]
    if bad:
        message = f"Invalid path in a repository: {_listed(bad)}."
        raise GitFailed("git.bad_path", message)
    twice = sorted({path for path in deletions if path in files})
    if twice or len(set(deletions)) != len(deletions):
        what = (
            f"is both written and deleted: {_listed(twice)}"
            if twice
            else "is deleted twice"
        )
        raise GitFailed("git.bad_path", f"A path {what}.")
    inside = [path for path in files if any(part in files for part in _above(path))]
    if inside:
        message = f"The same path is a file and a folder: {_listed(inside)}."
        raise GitFailed("git.path_conflict", message)


def check_against(
    modes: Mapping[str, str], files: Collection[str], deletions: Sequence[str]
) -> None:
    """Refuse changes that would do more or less to a tree than they say.

    `modes` are those of every path in the tree.

    :raises GitFailed: when a path to delete is missing, or a file would replace
        something that is not deleted by name
    """
    missing = [path for path in deletions if path not in modes]
    if missing:
        message = f"Cannot delete {_listed(missing)}: no such file on the branch."
        raise GitFailed("git.no_path", message)
    gone = set(deletions)
    remaining = {path: mode for path, mode in modes.items() if path not in gone}
    folders = {folder for path in remaining for folder in _above(path)}
    replaced = sorted(
        {part for path in files for part in _above(path) if part in remaining}
    )
    replaced += [path for path in files if path in folders]
    if replaced:
        message = (
            f"Cannot write: this would remove {_listed(replaced)}, which the step does"
            " not delete."
        )
        raise GitFailed("git.path_conflict", message)
    special = [path for path in files if remaining.get(path, "100644") not in PLAIN]
    if special:
        message = f"Cannot write {_listed(special)}: it is a link or a submodule."
        raise GitFailed("git.not_plain", message)


def _above(path: str) -> list[str]:
    """Every folder that a path is in."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _listed(paths: Sequence[str]) -> str:
    return ", ".join(repr(path) for path in paths[:5]) + (", ..." if paths[5:] else "")
