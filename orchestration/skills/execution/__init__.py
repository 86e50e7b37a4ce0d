"""Run handlers: the interface of this package for workers, plans and the registry.

A worker starts a `Runner`, a child program without the worker's secrets, and hands it
one `WireCall` at a time. Everything that comes back is masked and checked here.

Handlers of skills use `outbound`, `sandbox`, `folders`, `reasons` and `storable`. All
other modules are private to the package; an import contract holds this.
"""

from orchestration.skills.execution.calls import (
    Answer,
    CallKind,
    Checked,
    DeadlinePassed,
    LimitPassed,
    Log,
    Note,
    NotSent,
    NotStarted,
    RunnerDied,
    TouchedSomething,
    WireCall,
    local_files,
)
from orchestration.skills.execution.folders import NotPlain, opened_file
from orchestration.skills.execution.inputs import input_problems
from orchestration.skills.execution.masking import mask_files
from orchestration.skills.execution.outputs import (
    RESERVED,
    blank_output,
    declared_output,
    schema_problems,
    storable,
    validate_output,
)
from orchestration.skills.execution.runner import Runner, discard
from orchestration.skills.execution.sandbox import self_test
from orchestration.skills.execution.withheld import (
    SECRET_WITHHELD,
    secret_names,
    withhold,
)
