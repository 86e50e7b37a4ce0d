"""The words for each kind of event; the audit log stores the kinds."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Words(NamedTuple):
    """The words and the look of one kind of event."""

    state: str
    """The state whose icon and color mark the event."""
    label: str
    """The event's name in the list of a run and in the audit log's filter."""
    sentence: str
    """A sentence whose fields are the actor, names, and texts of the payload."""


# fmt: off
WORDS: dict[str, Words] = {kind: Words(*words) for kind, *words in (
    ("run.proposed", "draft", "Plan proposed", "{actor} proposed {run}"),
    ("run.dry_run_finished", "succeeded", "Dry run finished", "The dry run of {run} finished"),
    ("run.dry_run_limit_reached", "partial", "Dry run incomplete", "The dry run of {run} stopped at its limit"),
    ("run.dry_run_given_up", "partial", "Dry run incomplete", "The dry run of {run} stopped before its end"),
    ("run.dry_run_failed", "failed", "Dry run failed", "The dry run of {run} failed"),
    ("run.approved", "approved", "Plan approved", "Run {run} was approved and started"),
    ("run.approval_voided", "superseded", "Approval no longer valid", "The approval of {run} is no longer valid"),
    ("run.edited", "requested", "Parameters edited", "{actor} edited the parameters of step {step} of run {run}"),
    ("run.edit_dropped", "rejected", "Edit not approved", "The edit of run {run} was not approved"),
    ("run.queued", "queued", "Run queued", "Run {run} waits for other runs with its concurrency key"),
    ("run.admitted", "running", "Run admitted", "Run {run} got its place for its concurrency key"),
    ("run.pause_requested", "pausing", "Pause requested", "{actor} requested a pause of run {run}"),
    ("run.paused", "paused", "Run paused", "Run {run} paused"),
    ("run.resumed", "running", "Run resumed", "{actor} resumed run {run}"),
    ("run.cancel_requested", "cancelling", "Cancel requested", "{actor} requested cancellation of run {run}"),
    ("run.abort_requested", "cancelling", "Abort requested", "{actor} aborted run {run}"),
    ("run.cancelled", "cancelled", "Run cancelled", "Run {run} was cancelled"),
    ("run.succeeded", "succeeded", "Run succeeded", "Run {run} succeeded"),
    ("run.partially_succeeded", "partially_succeeded", "Run partly succeeded", "Run {run} partly succeeded"),
    ("run.failed", "failed", "Run failed", "Run {run} failed"),
    ("run.rejected", "rejected", "Run rejected", "Run {run} was rejected"),
    ("run.expired", "expired", "Run expired", "Run {run} expired without the required approvals"),
    ("run.rollback_started", "rolling_back", "Rollback started", "{actor} began the rollback of run {run}"),
    ("run.rolled_back", "rolled_back", "Run rolled back", "Run {run} was rolled back"),
    ("run.rollback_failed", "rollback_failed", "Rollback failed", "The rollback of run {run} stopped"),
    ("run.sla_breached", "late", "Run late", "Run {run} did not end in time"),
    ("run.sweep_failed", "fenced", "Background check failed", "The background check of run {run} failed"),

    ("step.expanded", "expanded", "Steps added", "The items or steps inside step {step} were added to run {run}"),
    ("step.reopened", "expanded", "Retried inside", "{actor} set what had failed inside step {step} to run again"),
    ("step.gate_opened", "gated", "Step waits for approval", "Step {step} waits for approval"),
    ("step.gate_approved", "approved", "Step approved", "Step {step} was approved and may start"),
    ("step.gate_rejected", "rejected", "Step not approved", "Step {step} was not approved and does not start"),
    ("step.gate_voided", "superseded", "Approval no longer valid", "The approval of step {step} is no longer valid"),
    ("step.released", "ready", "Step ready", "Step {step} is ready to start"),
    ("step.wait_started", "waiting", "Wait started", "Step {step} waits"),
    ("step.started", "intent", "Step started", "{actor} started step {step}"),
    ("step.not_started", "ready", "Attempt not started", "An attempt of step {step} did not start"),
    ("step.claimed", "claimed", "Step taken by a worker", "A worker took step {step}"),
    ("step.succeeded", "succeeded", "Step succeeded", "Step {step} succeeded"),
    ("step.reused", "succeeded", "Result reused", "Step {step} took the result of an earlier run"),
    ("step.retry_later", "backoff", "Attempt failed, retry scheduled", "An attempt of step {step} failed; a retry is scheduled"),
    ("step.failed", "failed", "Step failed", "Step {step} failed"),
    ("step.lease_lost", "lost", "Worker lost before the step ran", "The worker of step {step} was lost before the step ran"),
    ("step.outcome_unknown", "indeterminate", "Outcome unknown", "The outcome of step {step} is unknown"),
    ("step.probe_started", "indeterminate", "Check started", "A worker checks whether step {step} happened"),
    ("step.probed", "indeterminate", "Check without an answer", "A check could not tell whether step {step} happened"),
    ("step.probe_late", "fenced", "Late check ignored", "A late check of step {step} was ignored"),
    ("step.did_not_happen", "ready", "Did not happen", "A check found that step {step} did not happen; it may start again"),
    ("step.resolved", "succeeded", "Outcome resolved", "{actor} resolved the outcome of step {step}"),
    ("step.skipped_by_user", "skipped", "Step skipped by a user", "{actor} skipped the failed step {step}"),
    ("step.completed_by_hand", "succeeded", "Step completed by hand", "{actor} completed step {step} by hand"),
    ("step.retried", "backoff", "Step retried", "{actor} set step {step} to run again"),
    ("step.revived", "pending", "Step no longer skipped", "Step {step} is no longer skipped"),
    ("step.skipped", "skipped", "Step skipped after a failure", "Step {step} was skipped after a failure"),
    ("step.sla_breached", "late", "Step late", "Step {step} did not end in time"),
    ("step.queued", "queued", "Step queued", "Step {step} waits for other steps with its concurrency key"),
    ("step.admitted", "pending", "Step admitted", "Step {step} got its place for its concurrency key"),
    ("step.fell_back", "falling_back", "Fallback started", "Step {step} failed, and its fallback was started"),
    ("step.compensated", "compensated", "Step undone", "Step {step} was undone"),
    ("step.compensation_failed", "compensation_failed", "Undo failed", "Step {step} was not undone"),
    ("step.skipped_by_condition", "skipped_by_condition", "Step skipped by a condition", "Step {step} was skipped by a condition"),
    ("step.cancelled", "cancelled", "Step cancelled", "Step {step} was cancelled"),
    ("attempt.intent", "intent", "Attempt started", "An attempt of step {step} started"),
    ("attempt.fenced", "fenced", "Attempt stopped", "An outdated attempt of step {step} was stopped"),
    ("attempt.late_result", "fenced", "Late result ignored", "A late result of step {step} was ignored"),

    ("gate.requested", "requested", "Approval requested", "Approval of {subject} was requested"),
    ("gate.decided", "partial", "Decision recorded", "{actor} {verdict} {subject}"),
    ("gate.carried", "partial", "Approval carried over", "The approval of {subject} was carried over from an earlier run"),
    ("gate.approved", "approved", "Approval granted", "All required approvals of {subject} were given"),
    ("gate.rejected", "rejected", "Approval rejected", "The approval of {subject} was rejected"),
    ("gate.superseded", "superseded", "Approval superseded", "The approval of {subject} was superseded"),
    ("gate.withdrawn", "superseded", "Approval withdrawn", "The approval of {subject} was withdrawn"),
    ("gate.expired", "expired", "Approval expired", "The approval of {subject} expired"),
    ("gate.decision_refused", "fenced", "Decision refused", "{actor} could not decide on {subject}"),

    ("attention.taken", "approved", "Taken care of", "{actor} takes care of run {run}"),
    ("attention.released", "pending", "Released", "{actor} no longer takes care of run {run}"),

    ("event.received", "requested", "Event received", "{actor} sent event {type} {key}"),
    ("event.matched", "succeeded", "Event ended waits", "Event {type} {key} ended waits"),

    ("stop.set", "fenced", "Dispatch stopped", "{actor} stopped the dispatch: {reason}"),
    ("stop.lifted", "approved", "Stop lifted", "{actor} lifted a stop: {reason}"),

    ("artifact.drafted", "draft", "Artifact drafted", "A step returned artifact {artifact} in run {run}"),
    ("artifact.promoted", "current", "Artifact current", "A version of artifact {artifact} became current"),
    ("artifact.superseded", "superseded", "Artifact superseded", "A version of artifact {artifact} was superseded"),
    ("artifact.withdrawn", "withdrawn", "Artifact withdrawn", "A version of artifact {artifact} was withdrawn: its step was undone"),
    ("artifact.archived", "archived", "Artifact archived", "{actor} archived a version of artifact {artifact}"),
    ("artifact.forked", "forked", "Artifact forked", "{actor} forked a version as artifact {artifact}"),

    ("plan.saved", "approved", "Plan saved", "{actor} saved revision {revision} of plan {plan}"),
    ("plan.right_granted", "approved", "Right on plan granted", "{actor} granted {right} on plan {plan} to {holder}"),
    ("plan.right_revoked", "rejected", "Right on plan revoked", "{actor} revoked {right} on plan {plan} from {holder}"),

    ("schedule.created", "approved", "Schedule created", "{actor} created schedule {name} of plan {plan}"),
    ("schedule.changed", "approved", "Schedule changed", "{actor} changed schedule {name} of plan {plan}"),
    ("schedule.paused", "paused", "Schedule paused", "{actor} paused schedule {name}"),
    ("schedule.resumed", "running", "Schedule resumed", "{actor} resumed schedule {name}"),
    ("schedule.deleted", "rejected", "Schedule deleted", "{actor} deleted schedule {name}"),
    ("schedule.fired", "succeeded", "Schedule fired", "Schedule {name} proposed run {run_id}"),
    ("schedule.skipped", "skipped", "Firing skipped", "Schedule {name} skipped the firing of {due}"),
    ("schedule.moved_on", "skipped", "Schedule moved on", "Schedule {name} goes on after the recorded firing of {after}"),
    ("schedule.refused", "failed", "Firing refused", "Schedule {name} could not propose the run of {due}"),
    ("hook.created", "approved", "Webhook created", "{actor} created webhook {name} of plan {plan}"),
    ("hook.changed", "approved", "Webhook changed", "{actor} changed webhook {name} of plan {plan}"),
    ("hook.paused", "paused", "Webhook paused", "{actor} paused webhook {name}"),
    ("hook.resumed", "running", "Webhook resumed", "{actor} resumed webhook {name}"),
    ("hook.deleted", "rejected", "Webhook deleted", "{actor} deleted webhook {name}"),
    ("hook.secret_rotated", "approved", "Secret of webhook rotated", "{actor} rotated the secret of webhook {name}"),
    ("hook.delivered", "succeeded", "Webhook delivered", "Webhook {name} proposed run {run_id}"),
    ("hook.refused", "failed", "Delivery refused", "Webhook {name} could not propose the run of {webhook_id}"),

    ("skill.drafted", "draft", "Skill version drafted", "{actor} drafted version {version} of skill {skill}"),
    ("skill.published", "approved", "Skill version published", "{actor} published version {version} of skill {skill}"),
    ("skill.rebound", "approved", "Skill version updated to installed code", "{actor} updated skill {skill} to the installed code"),
    ("skill.withdrawn", "superseded", "Skill version withdrawn", "{actor} withdrew version {version} of skill {skill}"),
    ("skill.deprecated", "superseded", "Skill deprecated", "{actor} deprecated skill {skill}"),
    ("skill.quarantined", "rejected", "Skill quarantined", "{actor} quarantined skill {skill}"),
    ("skill.restored", "approved", "Skill restored", "{actor} restored skill {skill}"),

    ("policy.published", "approved", "Policy published", "{actor} published version {version} of policy {name}"),
    ("policy.retired", "superseded", "Policy retired", "{actor} retired policy {name}"),

    ("user.created", "approved", "User created", "{actor} created user {username}"),
    ("user.activated", "approved", "User activated", "{actor} activated user {username}"),
    ("user.deactivated", "rejected", "User deactivated", "{actor} deactivated user {username}"),
    ("user.roles_changed", "approved", "Roles changed", "{actor} set the roles of user {username} to {after}"),
    ("group.created", "approved", "Group created", "{actor} created group {group}"),
    ("right.granted", "approved", "Right granted", "{actor} granted {right} on {on} to {group}"),
    ("right.revoked", "rejected", "Right revoked", "{actor} revoked {right} on {on} from {group}"),
    ("agent.created", "approved", "Agent created", "{actor} created agent {name} for {owner}"),
    ("agent.activated", "approved", "Agent activated", "{actor} activated agent {name}"),
    ("agent.deactivated", "rejected", "Agent deactivated", "{actor} deactivated agent {name}"),

    ("sign_in.succeeded", "approved", "Signed in", "{actor} signed in"),
    ("sign_in.failed", "fenced", "Sign-in failed", "A sign-in as {username} failed"),
    ("sign_in.ended", "superseded", "Signed out", "{actor} signed out"),
    ("password.set", "approved", "Password set", "{actor} set the password of {username}"),
    ("password_link.created", "requested", "Password link created", "{actor} created a password link for {username}"),
    ("password_link.replaced", "superseded", "Password link replaced", "{actor} replaced the password link of {username}"),
    ("password_link.used", "approved", "Password link used", "{actor} used the password link of {username}"),
    ("token.created", "approved", "Token created", "{actor} created a token for {holder}"),
    ("token.revoked", "rejected", "Token revoked", "{actor} revoked a token of {holder}"),
)}
# fmt: on

GROUPS = {
    "run": ("Runs", "run"),
    "step": ("Steps", "step"),
    "attempt": ("Steps", "attempt"),
    "gate": ("Approvals", "approval"),
    "attention": ("Runs", "attention"),
    "event": ("Events", "event"),
    "stop": ("Stops", "stop"),
    "artifact": ("Artifacts", "artifact"),
    "plan": ("Plans", "plan"),
    "schedule": ("Schedules", "schedule"),
    "hook": ("Webhooks", "webhook"),
    "skill": ("Skills", "skill"),
    "policy": ("Policies", "policy"),
    "user": ("Accounts", "user"),
    "group": ("Accounts", "group"),
    "right": ("Accounts", "right"),
    "agent": ("Accounts", "agent"),
    "sign_in": ("Sign-in", "sign-in"),
    "password": ("Sign-in", "password"),
    "password_link": ("Sign-in", "password link"),
    "token": ("Sign-in", "token"),
}
"""By first part of a kind: its heading in the filter, and its subject."""

NOTES = ("reason", "comment", "message", "evidence", "worker", "code")
"""Payload keys whose text may explain an event; the first one found is used."""


def words_of(kind: str) -> Words:
    return WORDS.get(kind) or Words("pending", kind, "{kind}")


def note_of(payload: Mapping[str, Any]) -> str:
    """Return the text in a payload that explains the event, or an empty string."""
    error = payload.get("error")
    sources = [payload, error] if isinstance(error, dict) else [payload]
    values = (source.get(name) for source in sources for name in NOTES)
    return next((value for value in values if value and isinstance(value, str)), "")
