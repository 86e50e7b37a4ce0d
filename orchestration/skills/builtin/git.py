"""The real git, held tight: no hooks, no prompts, no configuration but the command's.

Only plumbing is used, so that the working tree and the index of the repository
stay as they are.
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SECONDS = 60
QUIET: Mapping[str, str] = {
    "GIT_ADVICE": "0",
    "GIT_ASKPASS": "/bin/false",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C.UTF-8",
}
HARMLESS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.pager=cat",
    "commit.gpgSign=false",
    "gc.auto=0",
    "protocol.allow=never",
    "tag.gpgSign=false",
)


class GitFailed(Exception):
    """Git refused, or the repository is not as it should be. Nothing was changed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Repository:
    """A repository named in the configuration."""

    def __init__(self, name: str, path: Path, author: Mapping[str, str]) -> None:
        self.name = name
        person = author.get("name", "ExecFabric")
        address = author.get("email", "execfabric@localhost")
        self._environment = {
            **QUIET,
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.devnull,
            "GIT_AUTHOR_NAME": person,
            "GIT_AUTHOR_EMAIL": address,
            "GIT_COMMITTER_NAME": person,
            "GIT_COMMITTER_EMAIL": address,
        }
        settings = [*HARMLESS, f"safe.directory={path}"]
        options = [word for setting in settings for word in ("-c", setting)]
        self._base = ["git", *options, "-C", str(path)]
        if not path.is_dir():
            raise GitFailed("git.no_repository", f"{name}: {path} is no folder.")
        folder = self.ask("rev-parse", "--absolute-git-dir")
        if not folder:
            raise GitFailed("git.no_repository", f"{name}: {path} is no repository.")
        self._base = ["git", *options, f"--git-dir={folder}"]

    @classmethod
    def of(cls, config: Mapping[str, Any], name: str) -> "Repository":
        """The configured repository of that name; `default` where none is given.

        :raises GitFailed: when it is not configured or not there
        """
        paths = dict(config.get("repositories", {}))
        if config.get("repository"):
            paths.setdefault("default", config["repository"])
        if name not in paths:
            raise GitFailed("git.no_repository", f"No repository {name} is configured.")
        return cls(name, Path(paths[name]), config.get("author", {}))

    def run(
        self,
        *words: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run a git command; what it said.

        :raises GitFailed: with git's own words
        """
        done = self._done(words, stdin, environment or {})
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise GitFailed("git.failed", f"git {words[0]}: {said}")
        return done.stdout.decode(errors="replace").rstrip("\n")

    def ask(self, *words: str) -> str:
        """What a git command says, or nothing where it fails."""
        done = self._done(words, b"", {})
        return "" if done.returncode else done.stdout.decode(errors="replace").strip()

    def commit_of(self, revision: str) -> str:
        """The commit that a revision names; empty where there is none."""
        if revision.startswith("-"):
            return ""
        return self.ask(
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            f"{revision}^{{commit}}",
        )

    def ref(self, name: str) -> str:
        """The object a full ref name stands at; empty where there is none."""
        return self.ask("rev-parse", "--verify", "--quiet", "--end-of-options", name)

    def check_name(self, ref: str) -> None:
        """Refuse what git would not take as a ref name.

        :raises GitFailed: when it would not
        """
        short = ref.split("/", 2)[2]
        if (
            short.startswith("-")
            or self._done(("check-ref-format", ref), b"", {}).returncode
        ):
            raise GitFailed("git.bad_name", f"{short!r} is not a valid name in git.")

    def move(self, ref: str, new: str, old: str, reason: str) -> bool:
        """Set a ref if it still stands at `old` (empty: if it is not there yet)."""
        words = ("update-ref", "--create-reflog", "-m", reason, ref, new, old)
        return not self._done(words, b"", {}).returncode

    def remove(self, ref: str, old: str) -> bool:
        """Delete a ref if it still stands at `old`."""
        return not self._done(("update-ref", "-d", ref, old), b"", {}).returncode

    def made_by(self, ref: str) -> str:
        """The reason with which a ref was made; empty where it was not noted."""
        return self.ask("reflog", "show", "--format=%gs", ref).split("\n")[-1]

    def checked_out(self, branch: str) -> bool:
        """Whether a working tree stands on this branch."""
        said = self.ask("worktree", "list", "--porcelain").split("\n")
        return f"branch refs/heads/{branch}" in said

    def _done(
        self, words: Sequence[str], stdin: bytes, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*self._base, *words],
            input=stdin,
            capture_output=True,
            env={**self._environment, **environment},
            timeout=SECONDS,
            check=False,
        )
