"""The columns of runs, steps, attempts and artifacts that the audit log covers."""

from audit.history import Table
from orchestration.runs.models import (
    ArtifactSource,
    ArtifactVersion,
    Attempt,
    EventMatch,
    EventWait,
    ExternalEvent,
    NamedArtifact,
    Run,
    StepRun,
    Stop,
)

RUN = Table(
    Run,
    exempt={
        "gate_id": "Compared with the last plan gate in the audit log.",
        "idempotency_key": "Detects a repeated request; does not affect what runs.",
        "request_digest": "Detects a repeated request; does not affect what runs.",
        "seq": "The number of the last event that wrote the row.",
        "version": "Counts writes without an event.",
    },
)
STEP = Table(
    StepRun,
    exempt={
        "run_id": "Used to find rows: a row with a wrong value is missing.",
        "output": "Compared with the recorded digest of output and files.",
        "files": "Compared with the recorded digest of output and files.",
        "lease_until": "Renewed continuously while the step runs.",
        "hinted_at": "The time of the last hint to workers; changes nothing.",
        "seq": "The number of the last event that wrote the row.",
    },
)
ATTEMPT = Table(
    Attempt,
    key=("step_run_id", "fence"),
    exempt={
        "id": "Arbitrary: attempts are identified by step run and fence.",
        "recorded_at": "The database's own time of the insert; it refuses to change it.",
        "heartbeat_at": "Not used.",
    },
)
EVENT = Table(ExternalEvent)
EVENT_WAIT = Table(
    EventWait,
    exempt={"step_run_id": "Used to find rows: a row with a wrong value is missing."},
)
EVENT_MATCH = Table(EventMatch, key=("wait_id",))
STOP = Table(Stop)
ARTIFACT = Table(NamedArtifact)
ARTIFACT_VERSION = Table(ArtifactVersion)
ARTIFACT_SOURCE = Table(
    ArtifactSource,
    key=("step_run_id", "fence", "file_id"),
    exempt={"id": "Arbitrary: sources are identified by attempt and file."},
)
