"""What the model of the protocol is searched for, and what breaks without each guard.

`python -m tests.protocol_cases` writes the table of docs/reliability.md.
"""

from tests.documents import put_between_markers
from tests.protocol_model import ALL, ASSUMPTIONS, GUARDS, Left, Scenario
from tests.protocol_moves import Protocol

PAGE = "docs/reliability.md"
SCENARIOS = {
    "approved": Scenario(
        Left(crash=1, forged_hint=1, edit=1, expiry=1, pause=1), gated=True
    ),
    "stopped": Scenario(Left(freeze=1, forged_hint=1, edit=1, pause=1), gated=True),
    "lost": Scenario(Left(crash=1, freeze=1, runner_death=1, failure=1, retry=1)),
    "checked": Scenario(Left(crash=1, freeze=1, retry=1, probe=2)),
    "checked and undone": Scenario(Left(crash=1, rollback=1, probe=1), workers=1),
    "emptied": Scenario(Left(crash=1, wipe=2)),
    "repeatable": Scenario(Left(crash=1, freeze=1, rollback=1), idempotent=True),
    "undone": Scenario(
        Left(crash=1, failure=1, retry=1, rollback=2), steps=2, workers=1
    ),
    "undone in parallel": Scenario(
        Left(failure=1, rollback=2, retry=1), steps=2, parallel=True
    ),
    "stopped and undone": Scenario(Left(freeze=1, rollback=1), steps=2, parallel=True),
    "lost and undone": Scenario(Left(crash=1, rollback=1), steps=2, parallel=True),
}
"""Plans of one or two steps, with the faults and acts of people that can befall them."""

IN_OTHER_STATE = "an intent was committed in a run that is paused"
NOT_APPROVED = "an intent was committed without a valid approval"
DENIED = "a step with an effect is {}, as if nothing had happened"
STUCK = "it neither ends nor waits for a person"
TWICE = "an effect that may happen once happened twice"
TOO_EARLY = "a step was undone before a later one"
WITHOUT = {
    "commit_compares_end_of_stream": ("approved", IN_OTHER_STATE),
    "intent_before_effect": ("approved", "an effect without a committed intent"),
    "claim_requires_ready_step": ("approved", NOT_APPROVED),
    "claim_requires_running_run": ("approved", IN_OTHER_STATE),
    "claim_proves_approval": ("approved", NOT_APPROVED),
    "claim_compares_content": ("approved", NOT_APPROVED),
    "void_approval_is_asked_again": ("stopped", STUCK),
    "decision_compares_content": ("approved", NOT_APPROVED),
    "proposer_may_not_decide": ("approved", NOT_APPROVED),
    "result_compares_fence": ("lost", DENIED.format("failed")),
    "lost_lease_looks_at_effect_class": ("lost", DENIED.format("cancelled")),
    "dead_runner_looks_at_effect_class": ("lost", DENIED.format("cancelled")),
    "success_needs_answer": ("lost", "a step succeeded without its effect"),
    "give_back_needs_proof": ("lost", DENIED.format("cancelled")),
    "late_call_is_refused": ("stopped", DENIED.format("failed")),
    "deadline_kills_handler": ("stopped", DENIED.format("failed")),
    "did_not_happen_needs_dead_attempt": ("stopped", DENIED.format("failed")),
    "probe_waits_for_dead_attempt": ("checked", DENIED.format("cancelled")),
    "answer_needs_same_attempt": ("checked", DENIED.format("cancelled")),
    "cancel_waits_for_running_step": ("lost", DENIED.format("cancelled")),
    "keeper_ends_expired_leases": ("emptied", STUCK),
    "keeper_repeats_hints": ("emptied", STUCK),
    "unknown_blocks_rollback": (
        "undone",
        "a run is rolled back, and a step of it is not undone",
    ),
    "undo_waits_for_lost_attempts": (
        "repeatable",
        "a step took effect after it was undone",
    ),
    "undo_in_reverse_order": ("undone", TOO_EARLY),
    "failed_undo_stops_rollback": ("undone", TOO_EARLY),
    "undo_is_never_repeated": ("undone", TWICE),
    "deadline_kills_stopped_handler": ("stopped", DENIED.format("failed")),
}
"""Per guard a scenario, and the invariant that breaks first without the guard."""


def without(guard: str) -> Protocol:
    """Return the protocol without a guard, in the scenario that needs it."""
    return Protocol(SCENARIOS[WITHOUT[guard][0]], ALL - {guard})


def table() -> str:
    """Return the guards as a Markdown table."""
    rows = ["| Guard | Without it |", "| --- | --- |"]
    rows += [f"| {words} | {WITHOUT[name][1]} |" for name, words in GUARDS.items()]
    assumed = [
        f"| assumed: {words} | {WITHOUT[name][1]} |"
        for name, words in ASSUMPTIONS.items()
    ]
    return "\n".join(rows + assumed)


if __name__ == "__main__":
    put_between_markers(PAGE, "model", table())
