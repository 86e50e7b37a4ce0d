"""Call the dry runs of actions, and the checks of their targets, within limits."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from execfabric.lib.refusal import Refusal
from orchestration.plans.domain import dryrun
from orchestration.plans.domain.dryrun import DryRunLimit
from orchestration.skills import installed
from orchestration.skills.domain.contract import ActionContract
from orchestration.skills.errors import SecretMissing
from orchestration.skills.execution import (
    SECRET_WITHHELD,
    Answer,
    CallKind,
    Checked,
    DeadlinePassed,
    LimitPassed,
    NotSent,
    Runner,
    RunnerDied,
    WireCall,
    discard,
    local_files,
    secret_names,
    withhold,
)
from orchestration.skills.services import secrets

INCONCLUSIVE = frozenset(
    {"skill.cannot_look", "skill.file_missing", "skill.no_handler"}
)
"""Codes of answers that do not tell whether the step would work."""


class NotDryRun(Exception):
    """A step could not be dry-run; the message says why."""


@dataclass
class DryRunCalls:
    """The calls of one dry run of a plan; all of them use one runner."""

    runner: Runner
    workdir: Path
    paths: Callable[[Iterable[Mapping[str, Any]]], Mapping[str, Path]]
    """Returns the path on this host of each file that is an input."""
    step_s: float
    total_s: float
    monotonic: Callable[[], float]
    hit: list[DryRunLimit] = field(default_factory=list)
    """The limits that were reached."""
    _deaths: int = 0

    def __post_init__(self) -> None:
        self._until = self.monotonic() + self.total_s

    def require_within_limits(self, done: int) -> None:
        if done >= dryrun.MAX_STEPS:
            self._stop(DryRunLimit.STEPS)
        if self._deaths >= dryrun.MAX_RUNNER_DEATHS:
            self._stop(DryRunLimit.RUNNER)
        if self.monotonic() >= self._until:
            self._stop(DryRunLimit.SECONDS)

    def _stop(self, limit: DryRunLimit) -> None:
        if limit not in self.hit:
            self.hit.append(limit)
        raise NotDryRun(dryrun.LIMIT_MESSAGES[limit])

    def target(
        self, action: ActionContract, params: Any, config: Any
    ) -> tuple[list[str], list[str]]:
        """Check the target; return its problems, and notes on what was not checked."""
        if not action.checks_target:
            return [], []
        try:
            answer = self.call(CallKind.CHECK, action, params, config)
        except NotDryRun as reason:
            return [], [f"Its target was not checked. {reason}"]
        if isinstance(answer, Checked):
            return [f"{item.code}: {item.message}" for item in answer.problems], []
        return [message_of(answer)], []

    def call(
        self, kind: CallKind, action: ActionContract, params: Any, config: Any
    ) -> Answer:
        """Call the handler.

        :raises NotDryRun: if it does not answer, or lacks a secret that it needs
        """
        left = self._until - self.monotonic()
        if left <= 0:
            self._stop(DryRunLimit.SECONDS)
        call = WireCall(
            handler=action.handler,
            params=params,
            config=withhold(config, but=action.dry_run_secrets),
            workdir=self.workdir,
            idempotency_key="dry-run",
            deadline_s=min(self.step_s, left),
            kind=kind,
            allow=installed.allowance(action.handler),
            limits=action.limits,
        )
        try:
            answer = self.runner.complete(
                call, secrets=_readable(action, config), paths=self._paths(params)
            )
        except DeadlinePassed as error:
            if left < self.step_s:
                self._stop(DryRunLimit.SECONDS)
            self._deaths += 1
            raise NotDryRun(f"Its dry run was stopped: {error}") from None
        except (RunnerDied, NotSent) as error:
            self._deaths += 1
            raise NotDryRun(f"Its dry run failed: {error}") from None
        except SecretMissing:
            # Without the message, because proposers must not see names of secrets.
            message = "It needs a secret that the worker does not have."
            raise NotDryRun(message) from None
        finally:
            discard(self.workdir)
        return self._conclusive(answer)

    def _paths(self, params: Any) -> Mapping[str, Path]:
        """Return the paths of the files in params: those of earlier steps do not exist.

        :raises NotDryRun: if a file is not stored
        """
        files = [{"sha256": digest} for digest in sorted(local_files(params))]
        try:
            return self.paths(files)
        except Refusal as error:
            raise NotDryRun(f"Cannot read its file. {error.message}") from None

    def _conclusive(self, answer: Answer) -> Answer:
        """Return the answer if it tells whether the step would work.

        :raises NotDryRun: if a limit, a secret or a missing file prevented the answer
        """
        if isinstance(answer, LimitPassed):
            self._deaths += 1
            raise NotDryRun(f"Its dry run was stopped: {answer.message}")
        code = getattr(answer, "code", "")
        if code == SECRET_WITHHELD:
            message = (
                f"It needs a secret that dry runs do not get. {message_of(answer)}"
            )
            raise NotDryRun(message)
        if code in INCONCLUSIVE:
            raise NotDryRun(message_of(answer))
        return answer


def _readable(
    action: ActionContract, config: Mapping[str, Any]
) -> Callable[[str], str]:
    declared = {
        name for key in action.dry_run_secrets for name in secret_names(config.get(key))
    }

    def read(name: str) -> str:
        if name not in declared:
            message = f"The secret {name} is not declared for dry runs."
            raise SecretMissing(message, secret=name)
        return secrets.read(name)

    return read


def message_of(answer: Any) -> str:
    return dryrun.cut(str(getattr(answer, "message", "It gave no answer.")))
