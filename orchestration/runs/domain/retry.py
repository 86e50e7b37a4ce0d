"""When a failed attempt is tried again."""

from datetime import timedelta

from orchestration.skills.domain.contract import RetryRule


def delay(rule: RetryRule, *, tries: int) -> timedelta:
    """How long to wait after the `tries`-th attempt failed (1 for the first)."""
    if rule.backoff == "constant":
        return timedelta(seconds=min(rule.initial_s, rule.max_s))
    # 2**60 s is beyond every maximum; the cap keeps the float finite.
    grown = rule.initial_s * 2 ** min(tries - 1, 60)
    return timedelta(seconds=min(grown, rule.max_s))
