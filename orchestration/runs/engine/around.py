"""Read what a run depends on but its events do not record."""

from approvals.selectors import ANY_POLICY

# Fails closed: a proposer of any other kind is never active.
_PROPOSER_ACTIVE = """
SELECT CASE split_part(proposer, ':', 1)
  WHEN 'user' THEN EXISTS (SELECT FROM accounts_user AS person
    WHERE person.is_active AND person.id = split_part(proposer, ':', 2)::bigint)
  WHEN 'agent' THEN EXISTS (SELECT FROM accounts_agent AS agent
    JOIN accounts_user AS owner ON owner.id = agent.owner_id
    WHERE agent.is_active AND owner.is_active
    AND agent.id = split_part(proposer, ':', 2)::bigint)
  ELSE false END
FROM runs_run WHERE id = %s
"""
READ_OUTSIDE = "SELECT (SELECT value FROM runs_outside)"
_READ_STOPS = "SELECT array_agg(skill) FROM runs_stop WHERE lifted_at IS NULL"
READ_AROUND = (
    f"SELECT ({READ_OUTSIDE}), ({ANY_POLICY}), ({_PROPOSER_ACTIVE}), ({_READ_STOPS})"
)
