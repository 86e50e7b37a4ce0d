"""Refusals about schedules and webhooks."""

from execfabric.lib.refusal import (
    Conflict,
    Denied,
    Invalid,
    Limited,
    Missing,
    RefusalKind,
)


class ScheduleUnknown(Missing):
    """Unknown schedule, or you do not have access to it."""

    code = "schedule.unknown"


class TriggerNotManaged(Denied):
    """Only the owner and admins may change this."""

    code = "trigger.not_managed"


class TriggerNeedsPerson(Denied):
    """Only users have schedules and webhooks. An agent cannot."""

    code = "trigger.needs_person"


class CronInvalid(Invalid):
    """Invalid cron expression."""

    code = "schedule.cron_invalid"


class ZoneUnknown(Invalid):
    """Unknown time zone."""

    code = "schedule.zone_unknown"


class TriggerNameInvalid(Invalid):
    """Invalid name: it must have 1 to 100 characters."""

    code = "trigger.name_invalid"


class WaitsForNothing(Invalid):
    """A firing cannot wait if missed firings are skipped. Choose to make up for one."""

    code = "schedule.policies_conflict"


class FileNotHeld(Invalid):
    """The inputs cannot hold a file: an uploaded file is removed if no run uses it."""

    code = "trigger.file_input"


class TooManyTriggers(Conflict):
    """You have too many schedules or webhooks. Delete one first."""

    code = "trigger.too_many"


class ScheduleChanged(Conflict):
    """The schedule has changed since you opened it. Open it again and repeat your change."""

    code = "schedule.changed"


class OwnerInactive(Denied):
    """The owner has no active account."""

    code = "trigger.owner_inactive"


class FiringTaken(Conflict):
    """Another keeper has fired the schedule."""

    code = "schedule.fired_elsewhere"


class HookUnknown(Missing):
    """Unknown webhook, or you do not have access to it."""

    code = "hook.unknown"


class HookChanged(Conflict):
    """The webhook has changed since you opened it. Open it again and repeat your change."""

    code = "hook.changed"


class MappingInvalid(Invalid):
    """The mapping of the webhook is not valid."""

    code = "hook.mapping_invalid"


class HookPaused(Conflict):
    """The webhook is paused. Its owner can resume it."""

    code = "hook.paused"


class HookHeadersInvalid(Invalid):
    """A header is missing or invalid: webhook-id, webhook-timestamp, webhook-signature."""

    code = "hook.headers_invalid"
    kind = RefusalKind.UNREADABLE


class HookTimestampInvalid(Denied):
    """The webhook-timestamp differs from our clock by more than 5 minutes."""

    code = "hook.timestamp_invalid"
    kind = RefusalKind.UNAUTHENTICATED


class HookSignatureInvalid(Denied):
    """The webhook-signature does not match the body and the secret of the webhook."""

    code = "hook.signature_invalid"
    kind = RefusalKind.UNAUTHENTICATED


class PayloadInvalid(Invalid):
    """The body is not valid JSON."""

    code = "hook.payload_invalid"
    kind = RefusalKind.UNREADABLE


class TooManyDeliveries(Limited):
    """Too many deliveries in one minute. Send the next one later."""

    code = "hook.rate_limited"


class DeliveredBefore(Conflict):
    """This webhook-id was delivered before."""

    code = "hook.delivered_before"
