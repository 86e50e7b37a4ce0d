"""What can happen next in the model of the protocol, by the actor that does it."""

from collections.abc import Iterator

from tests.protocol_model import (
    ALL,
    FINAL,
    NO_GATE,
    UNSTARTED,
    Move,
    Scenario,
    State,
    Step,
    Worker,
)


class Protocol:
    """The moves of all actors under some guards."""

    def __init__(self, scenario: Scenario, guards: frozenset[str] = ALL) -> None:
        self.scenario = scenario
        self.guards = guards

    def started(self) -> State:
        """Return the run as it starts, approved as a whole."""
        return self._changed(self.scenario.start())

    def moves(self, state: State) -> Iterator[Move]:
        """Yield everything that can happen next."""
        for index, worker in enumerate(state.workers):
            yield from self._of_worker(state, index, worker)
        for index, step in enumerate(state.steps):
            yield from self._of_time(state, index, step)
            yield from self._of_keeper(state, index, step)
            yield from self._of_approver(state, index, step)
            yield from self._of_resolver(state, index, step)
            yield from self._of_probe(state, index, step)
        yield from self._of_hints(state)
        yield from self._of_operator(state)

    def waits_for(self, state: State) -> str:
        """Return the person whom the run waits for, or ""."""
        if state.run in {"paused", "rollback_stopped"}:
            return "operator"
        idle = not state.has("ready", "running")
        return "approver" if idle and state.has("gated") else ""

    # Workers

    def _of_worker(self, state: State, at: int, worker: Worker) -> Iterator[Move]:
        if worker.is_dead:
            yield from self._of_notes(state, at, worker)
            return
        if worker.is_frozen:
            awake = state.with_worker(at, worker._replace(is_frozen=False))
            yield Move("time", "a stopped worker goes on", awake)
            return
        if worker.at == "idle":
            yield from self._reads(state, at)
            return
        if state.left.crash:
            dead = worker._replace(is_dead=True, is_stale=False)
            yield Move("fault", "kill -9", state.with_worker(at, dead).spent("crash"))
        if state.left.freeze:
            frozen = state.with_worker(at, worker._replace(is_frozen=True))
            yield Move("fault", "SIGSTOP", frozen.spent("freeze"))
        if worker.at == "deciding":
            yield from self._decides(state, at, worker)
            return
        yield from self._renews(state, worker)
        acts = {"claimed": self._calls, "handler": self._runs, "answered": self._ends}
        yield from acts[worker.at](state, at, worker)

    def _reads(self, state: State, at: int) -> Iterator[Move]:
        """Read the run for a hint, and decide on that copy."""
        for index, step in enumerate(state.steps):
            is_hinted = state.has_hint and step.state == "ready"
            if is_hinted and (decides := self._decision(state, index)):
                reader = self._reader(index, step, decides)
                yield Move(
                    "worker", f"reads step {index}", state.with_worker(at, reader)
                )
            elif (
                state.left.forged_hint
                and step.state != "absent"
                and (decides := self._decision(state, index))
            ):
                reader = self._reader(index, step, decides)
                forged = state.with_worker(at, reader).spent("forged_hint")
                yield Move("fault", f"a forged hint at step {index}", forged)

    def _reader(self, index: int, step: Step, decides: str) -> Worker:
        return Worker("deciding", index, step.fence + 1, step.content, decides)

    def _decision(self, state: State, index: int) -> str:
        """Return "claim", "void" if the approval does not hold, or "" for neither."""
        step, guards = state.steps[index], self.guards
        if "claim_requires_ready_step" in guards and step.state != "ready":
            return ""
        runs = "rolling_back" if self.scenario.is_undo(index) else "running"
        if "claim_requires_running_run" in guards and state.run != runs:
            return ""
        if not self._is_gated(index):
            return "claim"
        if "claim_proves_approval" in guards and step.is_expired:
            return "void"
        if "claim_compares_content" in guards and step.content != step.asked:
            return "void"
        return "claim"

    def _decides(self, state: State, at: int, worker: Worker) -> Iterator[Move]:
        """Commit what the worker decided on, if the run is as it was read."""
        if "intent_before_effect" not in self.guards:
            called = state.with_worker(at, worker._replace(at="handler", fence=-1))
            yield Move("worker", "calls the handler before its claim", called)
        freed = state.with_worker(at, Worker())
        if worker.is_stale and "commit_compares_end_of_stream" in self.guards:
            yield Move("worker", "is refused: the run has changed", freed)
        elif worker.decides == "claim":
            yield Move("worker", "commits its intent", self._claimed(state, at, worker))
        else:
            yield Move("worker", "voids the approval", self._voided(freed, worker.step))

    def _claimed(self, state: State, at: int, worker: Worker) -> State:
        step = state.steps[worker.step]
        broken = ""
        runs = "rolling_back" if self.scenario.is_undo(worker.step) else "running"
        if state.run != runs:
            broken = f"an intent was committed in a run that is {state.run}"
        elif self._is_gated(worker.step) and not self._is_approved(step, worker):
            broken = "an intent was committed without a valid approval"
        holder = worker._replace(at="claimed", decides="", is_stale=False)
        claimed = state.with_worker(at, holder).with_step(
            worker.step, state="running", fence=worker.fence, has_lease=True
        )
        return self._changed(claimed._replace(broken=broken))

    def _is_gated(self, index: int) -> bool:
        return self.scenario.gated and index == 0

    @staticmethod
    def _is_approved(step: Step, worker: Worker) -> bool:
        return step.yes == ("approver", worker.content) and not step.is_expired

    def _voided(self, state: State, index: int) -> State:
        if "void_approval_is_asked_again" not in self.guards:
            return state
        return self._changed(state.with_step(index, state="pending", **NO_GATE))

    def _renews(self, state: State, worker: Worker) -> Iterator[Move]:
        step = state.steps[worker.step]
        if self._is_current(step, worker) and not step.has_lease:
            renewed = state.with_step(worker.step, has_lease=True)
            yield Move("worker", "renews its lease", renewed)

    @staticmethod
    def _is_current(step: Step, worker: Worker) -> bool:
        return step.state == "running" and step.fence == worker.fence

    def _is_late(self, state: State, worker: Worker) -> bool:
        """Return True if the worker knows by its own clock that its lease has ended."""
        step = state.steps[worker.step]
        return not (self._is_current(step, worker) and step.has_lease)

    def _calls(self, state: State, at: int, worker: Worker) -> Iterator[Move]:
        if self._is_late(state, worker) and "late_call_is_refused" in self.guards:
            yield Move("worker", "gives back", self._given_back(state, at, worker))
            return
        called = state.with_worker(at, worker._replace(at="handler"))
        yield Move("worker", "calls the handler", called)

    def _given_back(self, state: State, at: int, worker: Worker) -> State:
        """Make a step ready again whose attempt certainly never began."""
        step = state.steps[worker.step]
        freed = state.with_worker(at, Worker())
        states = {"running", "indeterminate"}
        if step.fence != worker.fence or step.state not in states:
            return freed
        ended = "cancelled" if state.run in FINAL else "ready"
        # Of a step that may be repeated, an earlier attempt may still be alive.
        may_live = step.may_live and self.scenario.may_rerun(worker.step)
        fields = {"state": ended, "has_lease": False, "may_live": may_live}
        return self._changed(freed.with_step(worker.step, **fields))

    def _runs(self, state: State, at: int, worker: Worker) -> Iterator[Move]:
        """Let the handler act, fail before it acts, or die."""
        done = state.with_worker(at, worker._replace(at="answered", answer="done"))
        yield Move(
            "worker",
            f"has the effect of step {worker.step}",
            self._witnessed(done, worker),
        )
        if state.left.failure:
            failed = worker._replace(at="answered", answer="failed")
            ended = state.with_worker(at, failed).spent("failure")
            yield Move("fault", "the handler fails", ended)
        if state.left.runner_death:
            lost = worker._replace(at="answered", answer="lost")
            ended = state.with_worker(at, lost).spent("runner_death")
            yield Move("fault", "the runner dies", ended)
        if self._is_late(state, worker):
            freed = state.with_worker(at, Worker())
            yield Move("worker", "ends its runner: the lease is lost", freed)

    def _witnessed(self, state: State, worker: Worker) -> State:
        """Let the effect happen in the world; check what has to hold at that moment."""
        index = worker.step
        effects = state.steps[index].effects
        happened = state.with_step(index, effects=min(effects + 1, 2))
        if worker.fence < 0:
            broken = "an effect without a committed intent"
        elif effects and not self.scenario.may_rerun(index):
            broken = "an effect that may happen once happened twice"
        elif self.scenario.is_undo(index):
            broken = self._undone_too_early(state, index - self.scenario.steps)
        elif state.steps[self.scenario.undo_of(index)].effects:
            broken = "a step took effect after it was undone"
        else:
            broken = ""
        return happened._replace(broken=broken)

    def _undone_too_early(self, state: State, index: int) -> str:
        if state.steps[index].state != "succeeded":
            return "a step was undone whose effect is not certain"
        order = state.completed
        for other in range(self.scenario.steps):
            undo = state.steps[self.scenario.undo_of(other)]
            if other == index or not state.steps[other].effects or undo.effects:
                continue
            if other not in order or order.index(other) > order.index(index):
                return "a step was undone before a later one"
        return ""

    def _ends(self, state: State, at: int, worker: Worker) -> Iterator[Move]:
        """Record the answer; one of an old attempt is evidence only."""
        if state.left.runner_death and worker.answer == "done":
            lost = state.with_worker(at, worker._replace(answer="lost"))
            yield Move(
                "fault",
                "the runner dies before its answer arrives",
                lost.spent("runner_death"),
            )
        step = state.steps[worker.step]
        freed = state.with_worker(at, Worker())
        is_old = step.fence != worker.fence and "result_compares_fence" in self.guards
        if step.state != "running" or is_old:
            yield Move("worker", "records a late result", freed)
            return
        target = self._outcome(state, worker)
        ended = freed.with_step(worker.step, state=target, has_lease=False)
        if target == "succeeded" and not self.scenario.is_undo(worker.step):
            ended = ended._replace(completed=(*ended.completed, worker.step))
        yield Move(
            "worker", f"records: step {worker.step} {target}", self._changed(ended)
        )

    def _outcome(self, state: State, worker: Worker) -> str:
        if worker.answer != "lost":
            return {"done": "succeeded", "failed": "failed"}[worker.answer]
        if "success_needs_answer" not in self.guards:
            return "succeeded"
        guarded = "dead_runner_looks_at_effect_class" in self.guards
        if guarded and not self.scenario.may_rerun(worker.step):
            return "indeterminate"
        return "cancelled" if state.run == "cancelling" else "ready"

    def _of_notes(self, state: State, at: int, worker: Worker) -> Iterator[Move]:
        """Replace a dead worker; the notes of its host show if its call was begun."""
        is_begun = worker.at in {"handler", "answered"}
        if worker.at == "claimed" or (
            is_begun and "give_back_needs_proof" not in self.guards
        ):
            given = self._given_back(state, at, worker)
            yield Move("keeper", "gives back what a dead worker claimed", given)
        freed = state.with_worker(at, Worker())
        yield Move("keeper", "replaces a dead worker", freed)

    # Time and the keeper

    def _of_time(self, state: State, index: int, step: Step) -> Iterator[Move]:
        is_kept = any(
            w.step == index and w.fence == step.fence and not (w.is_dead or w.is_frozen)
            for w in state.workers
        )
        if step.state == "running" and step.has_lease and not is_kept:
            expired = state.with_step(index, has_lease=False)
            yield Move("time", f"the lease of step {index} expires", expired)
        if step.may_live:
            killed = self._killed(state.with_step(index, may_live=False), index)
            if state.run == "rolling_back":
                killed = self._changed(killed)
            yield Move(
                "time", f"the deadline of a lost attempt of step {index}", killed
            )
        # A claim is made at the time at which it has read the run.
        is_reading = any(worker.at == "deciding" for worker in state.workers)
        may_expire = step.yes[0] and step.state == "ready" and not is_reading
        if state.left.expiry and may_expire:
            over = state.with_step(index, is_expired=True).spent("expiry")
            yield Move("fault", "the approval expires", over)
        if state.left.edit and self._is_gated(index) and step.state in UNSTARTED:
            edited = state.with_step(index, content=step.content + 1).spent("edit")
            yield Move("fault", "the content is edited", self._stale(edited))

    def _killed(self, state: State, index: int) -> State:
        """End the handlers of lost attempts, as their guardians do."""
        if "deadline_kills_handler" not in self.guards:
            return state
        for at, worker in enumerate(state.workers):
            is_lost = not self._is_current(state.steps[index], worker)
            if worker.is_frozen and "deadline_kills_stopped_handler" not in self.guards:
                continue
            if worker.step == index and worker.at == "handler" and is_lost:
                ended = worker._replace(at="answered", answer="lost")
                state = state.with_worker(at, ended)
        return state

    def _of_keeper(self, state: State, index: int, step: Step) -> Iterator[Move]:
        if "keeper_ends_expired_leases" not in self.guards:
            return
        if step.state == "running" and not step.has_lease:
            target = "ready"
            guarded = "lost_lease_looks_at_effect_class" in self.guards
            if guarded and not self.scenario.may_rerun(index):
                target = "indeterminate"
            elif state.run == "cancelling":
                target = "cancelled"
            lost = state.with_step(index, state=target, may_live=True)
            yield Move("keeper", f"step {index} lost its worker", self._changed(lost))

    def _of_hints(self, state: State) -> Iterator[Move]:
        if state.has_hint and state.left.wipe:
            wiped = state._replace(has_hint=False).spent("wipe")
            yield Move("fault", "the broker is emptied", wiped)
        is_due = state.has("ready") and not state.has_hint
        if is_due and "keeper_repeats_hints" in self.guards:
            yield Move("keeper", "hints again", state._replace(has_hint=True))

    # People

    def _of_approver(self, state: State, index: int, step: Step) -> Iterator[Move]:
        if step.state != "gated":
            return
        if step.seen != step.asked:
            seen = state.with_step(index, seen=step.asked)
            yield Move("approver", "opens the approval", seen)
        compares = "decision_compares_content" in self.guards
        if step.seen >= 0 and (step.seen == step.asked or not compares):
            yes = state.with_step(index, state="ready", yes=("approver", step.seen))
            yield Move("approver", "approves", self._changed(yes))
        if "proposer_may_not_decide" not in self.guards:
            yes = state.with_step(index, state="ready", yes=("proposer", step.asked))
            yield Move("proposer", "approves", self._changed(yes))

    def _of_resolver(self, state: State, index: int, step: Step) -> Iterator[Move]:
        """Report what the target shows."""
        if step.state != "indeterminate":
            return
        if step.effects:
            done = state.with_step(index, state="succeeded")
            if not self.scenario.is_undo(index):
                done = done._replace(completed=(*done.completed, index))
            yield Move("operator", f"step {index} happened", self._changed(done))
        elif (
            not step.may_live or "did_not_happen_needs_dead_attempt" not in self.guards
        ):
            failed = state.with_step(index, state="failed")
            yield Move(
                "operator", f"step {index} did not happen", self._changed(failed)
            )

    def _of_probe(self, state: State, index: int, step: Step) -> Iterator[Move]:
        """Ask the target of a step with an unknown outcome; the answer comes later."""
        unknown, (found, fence) = step.state == "indeterminate", step.answer
        is_dead = not step.may_live or "probe_waits_for_dead_attempt" not in self.guards
        if unknown and not found and is_dead and state.left.probe:
            answer = "happened" if step.effects else "absent", step.fence
            asked = state.with_step(index, answer=answer).spent("probe")
            yield Move("worker", f"asks if step {index} happened", asked)
        if not found:
            return
        answered = state.with_step(index, answer=("", -1))
        counts = "answer_needs_same_attempt" not in self.guards
        if not (counts or (unknown and fence == step.fence)):
            yield Move("worker", f"hears of step {index} too late", answered)
        elif found == "absent":
            ready = answered.with_step(index, state="ready")
            yield Move("worker", f"hears: step {index} is absent", self._changed(ready))
        else:
            done = answered.with_step(index, state="succeeded")
            if not self.scenario.is_undo(index) and index not in done.completed:
                done = done._replace(completed=(*done.completed, index))
            yield Move("worker", f"hears: step {index} happened", self._changed(done))

    def _of_operator(self, state: State) -> Iterator[Move]:
        if state.run == "running" and state.left.pause:
            paused = state._replace(run="pausing").spent("pause")
            yield Move("operator", "pauses", self._changed(paused))
        if state.run in {"running", "pausing", "paused"}:
            ended = self._changed(state._replace(run="cancelling"))
            yield Move("operator", "cancels", ended)
        if state.run == "paused" and not state.has("indeterminate"):
            yield from self._resumes(state, "running")
        if state.run == "rollback_stopped":
            given_up = self._changed(state._replace(run="rollback_failed"))
            yield Move("operator", "gives up the rollback", given_up)
            if not state.has("indeterminate"):
                yield from self._resumes(state, "rolling_back")
        if state.left.rollback and self._may_roll_back(state):
            begun = self._rolling_back(state.spent("rollback"))
            yield Move("operator", "rolls back", begun)

    def _resumes(self, state: State, run: str) -> Iterator[Move]:
        """Resume the run or its rollback, and try its failed steps again."""
        undo = run == "rolling_back"
        failed = [
            index
            for index, step in enumerate(state.steps)
            if step.state == "failed" and self.scenario.is_undo(index) == undo
        ]
        if failed and not state.left.retry:
            return
        resumed = state.spent("retry") if failed else state
        for index in failed:
            resumed = resumed.with_step(index, state="pending", **NO_GATE)
        yield Move("operator", "resumes", self._changed(resumed._replace(run=run)))

    def _may_roll_back(self, state: State) -> bool:
        if state.has("running"):
            return False
        if state.has("indeterminate") and "unknown_blocks_rollback" in self.guards:
            return False
        if "undo_is_never_repeated" in self.guards:
            return state.run in {"paused", "succeeded", "cancelled"}
        return state.run in {"paused", *FINAL}

    def _rolling_back(self, state: State) -> State:
        for index, step in enumerate(state.steps[: self.scenario.steps]):
            if step.state in UNSTARTED:
                state = state.with_step(index, state="cancelled")
        for index in state.completed:
            undo = self.scenario.undo_of(index)
            state = state.with_step(undo, state="pending")
        return self._changed(state._replace(run="rolling_back"))

    # What follows each change of the run, in the same transaction

    def _changed(self, state: State) -> State:
        state = self._stale(self._advanced(state))
        for step in state.steps:
            if step.state == "succeeded" and not step.effects:
                state = state._replace(broken="a step succeeded without its effect")
        return state

    @staticmethod
    def _stale(state: State) -> State:
        """Every copy that a worker decides on is old now."""
        workers = tuple(
            worker._replace(is_stale=True) if worker.at == "deciding" else worker
            for worker in state.workers
        )
        return state._replace(workers=workers)

    def _advanced(self, state: State) -> State:
        forward = range(self.scenario.steps)
        states = [state.steps[index].state for index in forward]
        is_busy = state.has("running")
        if state.run == "running":
            if {"indeterminate", "failed"} & set(states):
                state = state._replace(run="pausing")
            elif all(each == "succeeded" for each in states):
                return state._replace(run="succeeded")
            else:
                return self._released(state)
        if state.run == "pausing" and not is_busy:
            return state._replace(run="paused")
        if state.run == "cancelling":
            return self._cancelled(state, is_busy=is_busy)
        return self._undoing(state) if state.run == "rolling_back" else state

    def _released(self, state: State) -> State:
        for index in range(self.scenario.steps):
            step = state.steps[index]
            if step.state == "pending":
                gate = {"state": "gated", "asked": step.content}
                ready = {"state": "ready"}
                state = state.with_step(
                    index, **(gate if self._is_gated(index) else ready)
                )
                state = state._replace(has_hint=True)
            if step.state != "succeeded" and not self.scenario.parallel:
                break
        return state

    def _cancelled(self, state: State, *, is_busy: bool) -> State:
        ended = set(UNSTARTED)
        if "cancel_waits_for_running_step" not in self.guards:
            ended, is_busy = ended | {"running"}, False
        for index in range(self.scenario.steps):
            if state.steps[index].state in ended:
                state = state.with_step(index, state="cancelled", has_lease=False)
        return state if is_busy else state._replace(run="cancelled")

    def _undoing(self, state: State) -> State:
        for index in reversed(state.completed):
            undo = state.steps[self.scenario.undo_of(index)]
            stops = "failed_undo_stops_rollback" in self.guards
            if undo.state == "indeterminate" or (undo.state == "failed" and stops):
                return state._replace(run="rollback_stopped")
            if undo.state == "pending" and self._may_undo(state, index):
                undo_of = self.scenario.undo_of(index)
                state = state.with_step(undo_of, state="ready")._replace(has_hint=True)
            if undo.state in {"succeeded", "failed"}:
                continue
            if "undo_in_reverse_order" in self.guards:
                return state
        if state.has("pending", "ready", "running"):
            return state
        if state.has("failed") and self._has_failed_undo(state):
            return state._replace(run="rollback_stopped")
        return state._replace(run="rolled_back")

    def _may_undo(self, state: State, index: int) -> bool:
        guarded = "undo_waits_for_lost_attempts" in self.guards
        return not (guarded and state.steps[index].may_live)

    def _has_failed_undo(self, state: State) -> bool:
        return any(
            step.state == "failed" for step in state.steps[self.scenario.steps :]
        )
