"""A chain of five steps fails at the fourth, which is edited: the run goes on."""

from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.browsing import Browsing, Camera, look_at
from tests.builders import plan, step

UNDO = {"action": "witness", "params": {"mark": "undo-$self.output.mark", "before": 1}}


def chain(plan_id: str, mark: str, **fields: str) -> str:
    """Return a chain whose fourth step fails; the first three write lines."""

    def effect(key: str, name: str, after: str | None = None) -> dict[str, object]:
        return step(
            key,
            "witness",
            name=name,
            after=after,
            params={"mark": f"{mark}-{key}"},
            rollback=UNDO,
        )

    return plan(
        effect("build", "Build the package"),
        effect("stage", "Put it on the stage", "build"),
        effect("announce", "Announce the release", "stage"),
        step(
            "check",
            "misbehave",
            name="Check the stage",
            after="announce",
            params={"how": "fail"},
        ),
        step("report", after="check", params={"ok": "$check.output.ok"}),
        id=plan_id,
        name="Release a package",
        **fields,
    )


def failed(browse: Browsing, text: str) -> tuple[Page, Page, str]:
    """Return the pages of proposer and operator, and a run that failed at `check`."""
    proposer, operator = browse("proposer"), browse("operator")
    run = pages.start(proposer, operator, text)
    pages.expect_state(operator, "paused")
    return proposer, operator, run


def test_the_failed_step_is_edited_and_the_run_goes_on(
    browse: Browsing, camera: Camera
) -> None:
    proposer, operator, run = failed(browse, chain("release-edited", "edited"))

    proposer.goto(f"/runs/{run}")
    proposer.get_by_test_id("step-check").locator("summary").first.click()
    proposer.get_by_test_id("act-edit").click()
    params = proposer.get_by_label("Parameters")
    expect(params).to_contain_text("fail")
    params.fill("how: ok")
    proposer.get_by_label("Reason").fill("The check asked the wrong stage.")
    camera.take(proposer, "chain-edit-form")
    look_at(proposer, "chain-edit-form")
    proposer.get_by_test_id("act").click()
    pages.run_id(proposer)
    pages.expect_state(proposer, "awaiting_approval")
    camera.take(proposer, "chain-edit-waits")
    look_at(proposer, "chain-edit-waits")

    pages.open_from_inbox(operator, run)
    change = operator.get_by_test_id("gate-edit").locator('[data-field="how"]')
    expect(change).to_contain_text("fail")
    expect(change).to_contain_text("ok")
    camera.take(operator, "chain-edit-gate")
    look_at(operator, "chain-edit-gate")
    pages.approve(operator)

    pages.expect_state(proposer, "succeeded")
    shown = proposer.get_by_test_id("run-edit-shown")
    expect(shown).to_contain_text("The check asked the wrong stage.")
    camera.take(proposer, "chain-edited")
    look_at(proposer, "chain-edited")
