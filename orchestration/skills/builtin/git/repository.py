"""Run git without hooks or prompts, and with only the configuration given here.

Only plumbing commands are used, so that the working tree and the index do not change.
We use git, not dulwich or pygit2: it locks refs, writes reflogs and reads every
format of repository exactly as the other users of the repository do.
"""

import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestration.skills.domain.outcome import CallFailed, Failed, refused

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
        self._paths = [str(path), str(path.resolve())]
        if not path.is_dir():
            message = f"Cannot open the repository {name!r}: its configured folder does not exist. Ask an admin."
            raise refused("git.no_repository", message)
        folder = self.ask("rev-parse", "--absolute-git-dir")
        if not folder:
            message = f"Cannot open the repository {name!r}: its configured folder is not a git repository. Ask an admin."
            raise refused("git.no_repository", message)
        self._paths.append(folder)
        self._base = ["git", *options, f"--git-dir={folder}"]

    @classmethod
    def of(cls, config: Mapping[str, Any], name: str) -> "Repository":
        """Return the configured repository with this name.

        :raises CallFailed: when it is not configured or does not exist
        """
        paths = dict(config.get("repositories", {}))
        if config.get("repository"):
            paths.setdefault("default", config["repository"])
        if name not in paths:
            message = f"Unknown repository {name!r}. Use one that the skill's configuration names."
            raise refused("git.no_repository", message)
        return cls(name, Path(paths[name]), config.get("author", {}))

    def run(
        self,
        *words: str,
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Run a git command; return its output.

        :raises CallFailed: with the message of git
        """
        done = self._done(words, stdin, environment or {})
        if done.returncode:
            raise self._failed(words[0], done, (environment or {}).values())
        # Names of files need not be UTF-8: surrogates preserve them.
        return done.stdout.decode(errors="surrogateescape").rstrip("\n")

    def ask(self, *words: str) -> str:
        """Return the output of a git command; empty if it fails."""
        done = self._done(words, b"", {})
        return "" if done.returncode else done.stdout.decode(errors="replace").strip()

    def commit_of(self, revision: str) -> str:
        """Return the commit of a revision; empty if there is none."""
        return "" if revision.startswith("-") else self.ref(f"{revision}^{{commit}}")

    def ref(self, name: str) -> str:
        """Return the object of a full ref name; empty if there is none."""
        return self.ask("rev-parse", "--verify", "--quiet", "--end-of-options", name)

    def is_name(self, ref: str) -> bool:
        """Return True if this is a valid full name of a ref."""
        return not self._done(("check-ref-format", ref), b"", {}).returncode

    def default_branch(self) -> str:
        """Return the full name of the branch that HEAD names; empty if it has none."""
        return self.ask("rev-parse", "--symbolic-full-name", "HEAD")

    def move(self, ref: str, new: str, old: str, reason: str) -> bool:
        """Set a ref if it still is at `old` (empty: if it does not exist yet).

        :raises CallFailed: when git fails although the ref is at `old`
        """
        words = ("update-ref", "--create-reflog", "-m", reason, ref, new, old)
        return self._updated(ref, old, words)

    def remove(self, ref: str, old: str) -> bool:
        """Delete a ref if it still is at `old`.

        :raises CallFailed: when git fails although the ref is at `old`
        """
        return self._updated(ref, old, ("update-ref", "-d", ref, old))

    def confirm(self, ref: str, expected: str) -> None:
        """Check that a ref has the value that was just set (empty: no ref).

        :raises CallFailed: when it is not
        """
        now = self.ref(ref)
        if now != expected:
            message = (
                f"{ref} is {now or 'missing'} after it was set to"
                f" {expected or 'nothing'}. Check the repository."
            )
            raise CallFailed(Failed("git.effect_differs", message))

    def made_by(self, ref: str) -> str:
        """Return the reason in the first reflog entry of a ref; empty without one."""
        return self.ask("reflog", "show", "--format=%gs", ref).split("\n")[-1]

    def checked_out(self, branch: str) -> bool:
        lines = self.ask("worktree", "list", "--porcelain").split("\n")
        return f"branch refs/heads/{branch}" in lines

    def _updated(self, ref: str, old: str, words: Sequence[str]) -> bool:
        done = self._done(words, b"", {})
        if done.returncode and self.ref(ref) == old:
            raise self._failed(words[0], done)
        return not done.returncode

    def _failed(
        self,
        word: str,
        done: subprocess.CompletedProcess[bytes],
        paths: Iterable[str] = (),
    ) -> CallFailed:
        """Return an error with the message of git without paths of this host."""
        text = done.stderr.decode(errors="replace").strip()
        for path in sorted([*self._paths, *paths], key=len, reverse=True):
            text = text.replace(path, self.name)
        return refused("git.failed", f"git {word} failed: {text}")

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
