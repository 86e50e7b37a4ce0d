"""The classic control-flow patterns as plans, and the page that lists them.

The patterns are those of van der Aalst, ter Hofstede, Kiepuszewski and Barros, "Workflow
Patterns", Distributed and Parallel Databases 14 (2003).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.documents import PROJECT

PAGE = PROJECT / "docs/patterns.md"
HEAD = """\
# Control-flow patterns

The twenty patterns of van der Aalst, ter Hofstede, Kiepuszewski and Barros, "Workflow
Patterns", Distributed and Parallel Databases 14 (2003), and how a plan expresses each.
The tests run every plan on this page, and this page is written from their results:
**{supported} of {total}** patterns are supported. [Plan language](plan-language.md) explains
the keys.

| No. | Pattern | Supported |
|---|---|---|
"""


@dataclass(frozen=True)
class ControlFlowPattern:
    number: int
    name: str
    meaning: str
    """What the pattern demands."""
    how: str
    """How a plan expresses it, or why it cannot."""
    plan: str = ""
    """Empty if it is not supported."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    sub_plan: str = ""
    """A plan that is saved before."""


def page(patterns: list[ControlFlowPattern], shown: Mapping[int, bool]) -> str:
    """Return the page; `shown` says which patterns the tests have shown to work."""
    total = sum(shown.get(one.number, False) for one in patterns)
    parts = [HEAD.format(supported=total, total=len(patterns))]
    for one in patterns:
        answer = "yes" if shown.get(one.number) else "no"
        anchor = f"#{one.number}-{one.name.lower().replace(' ', '-')}"
        parts.append(f"| {one.number} | [{one.name}]({anchor}) | {answer} |\n")
    parts.extend(_section(one) for one in patterns)
    return "".join(parts)


def _section(one: ControlFlowPattern) -> str:
    plans = "".join(
        f"\n```yaml\n{text}```\n" for text in (one.sub_plan, one.plan) if text
    )
    how = one.how if one.plan else f"Not supported. {one.how}"
    return f"\n## {one.number} {one.name}\n\n{one.meaning} {how}\n{plans}"


def plan_id(text: str) -> str:
    return str(yaml.safe_load(text)["plan"]["id"])


PATTERNS = [
    ControlFlowPattern(
        1,
        "Sequence",
        "A step starts after another one has ended.",
        "`dependsOn` names the step before.",
        """\
plan:
  id: pattern-sequence
  steps:
    - {id: first, skill: noop, action: pass, params: {value: 1}}
    - {id: second, skill: noop, action: pass, dependsOn: [first], params: {value: $first.output.value}}
""",
    ),
    ControlFlowPattern(
        2,
        "Parallel split",
        "After one step, several run at the same time.",
        "`parallel` lets all steps run that do not wait for each other.",
        """\
plan:
  id: pattern-split
  parallel: true
  steps:
    - {id: first, skill: noop, action: pass}
    - {id: left, skill: noop, action: pass, dependsOn: [first]}
    - {id: right, skill: noop, action: pass, dependsOn: [first]}
""",
    ),
    ControlFlowPattern(
        3,
        "Synchronization",
        "A step waits for several parallel branches.",
        "It depends on all of them; the default rule waits for the success of each.",
        """\
plan:
  id: pattern-synchronization
  parallel: true
  steps:
    - {id: left, skill: noop, action: pass}
    - {id: right, skill: noop, action: pass}
    - {id: both, skill: noop, action: pass, dependsOn: [left, right]}
""",
    ),
    ControlFlowPattern(
        4,
        "Exclusive choice",
        "A condition picks one of several branches.",
        "A step of kind `choose` runs the branch of its first true rule.",
        """\
plan:
  id: pattern-exclusive-choice
  inputs: {type: object, properties: {size: {type: integer}}, required: [size]}
  steps:
    - id: route
      kind: choose
      choose:
        - {if: 'inputs.size > 10', then: [large]}
        - {else: [small]}
    - {id: large, skill: noop, action: pass}
    - {id: small, skill: noop, action: pass}
""",
        {"size": 3},
    ),
    ControlFlowPattern(
        5,
        "Simple merge",
        "A step continues after any of several branches, of which only one runs.",
        "It depends on all branches; one that was not chosen does not block it.",
        """\
plan:
  id: pattern-simple-merge
  inputs: {type: object, properties: {size: {type: integer}}, required: [size]}
  steps:
    - id: route
      kind: choose
      choose:
        - {if: 'inputs.size > 10', then: [large]}
        - {else: [small]}
    - {id: large, skill: noop, action: pass}
    - {id: small, skill: noop, action: pass}
    - {id: after, skill: noop, action: pass, dependsOn: [large, small]}
""",
        {"size": 30},
    ),
    ControlFlowPattern(
        6,
        "Multi-choice",
        "Conditions pick any number of branches.",
        "Each branch has its own `when`.",
        """\
plan:
  id: pattern-multi-choice
  parallel: true
  inputs: {type: object, properties: {env: {type: string}, tests: {type: boolean}}, required: [env, tests]}
  steps:
    - {id: build, skill: noop, action: pass}
    - {id: test, skill: noop, action: pass, dependsOn: [build], when: inputs.tests}
    - {id: scan, skill: noop, action: pass, dependsOn: [build], when: 'inputs.env == "prod"'}
    - {id: pack, skill: noop, action: pass, dependsOn: [build], when: 'inputs.env != "dev"'}
""",
        {"env": "stage", "tests": True},
    ),
    ControlFlowPattern(
        7,
        "Synchronizing merge",
        "A step waits for those branches that a multi-choice has picked.",
        "It depends on all branches: those that were not picked do not block it, and it"
        " waits for the others.",
        """\
plan:
  id: pattern-synchronizing-merge
  parallel: true
  inputs: {type: object, properties: {env: {type: string}}, required: [env]}
  steps:
    - {id: build, skill: noop, action: pass}
    - {id: test, skill: noop, action: pass, dependsOn: [build]}
    - {id: scan, skill: noop, action: pass, dependsOn: [build], when: 'inputs.env == "prod"'}
    - {id: pack, skill: noop, action: pass, dependsOn: [build], when: 'inputs.env != "dev"'}
    - {id: after, skill: noop, action: pass, dependsOn: [test, scan, pack]}
""",
        {"env": "stage"},
    ),
    ControlFlowPattern(
        8,
        "Multi-merge",
        "What follows a merge runs once for each branch that reaches it.",
        "A step runs once, so what follows is a plan of its own, which each branch runs as a"
        " sub-plan.",
        """\
plan:
  id: pattern-multi-merge
  parallel: true
  steps:
    - {id: left, skill: noop, action: pass, params: {value: left}}
    - {id: right, skill: noop, action: pass, params: {value: right}}
    - {id: after-left, kind: plan, plan: pattern-follow-up, dependsOn: [left], inputs: {branch: $left.output.value}}
    - {id: after-right, kind: plan, plan: pattern-follow-up, dependsOn: [right], inputs: {branch: $right.output.value}}
""",
        sub_plan="""\
plan:
  id: pattern-follow-up
  inputs: {type: object, properties: {branch: {type: string}}, required: [branch]}
  steps:
    - {id: record, skill: noop, action: pass, params: {value: $inputs.branch}}
""",
    ),
    ControlFlowPattern(
        9,
        "Discriminator",
        "A step starts after the first of several branches and ignores the others.",
        "`triggerRule: one_success` starts it once; `$first` is the branch that was first.",
        """\
plan:
  id: pattern-discriminator
  parallel: true
  steps:
    - {id: left, skill: noop, action: pass, params: {value: left}}
    - {id: pause, kind: wait, for: 1d}
    - {id: right, skill: noop, action: pass, dependsOn: [pause]}
    - {id: after, skill: noop, action: pass, dependsOn: [left, right], triggerRule: one_success, params: {value: $first.id}}
""",
    ),
    ControlFlowPattern(
        10,
        "Arbitrary cycles",
        "Steps repeat by jumping back to any earlier step.",
        "Approvers see every step that can run, so a plan has no cycles. `retry` repeats a"
        " step, `forEach` runs it for each item, and a schedule repeats a plan.",
    ),
    ControlFlowPattern(
        11,
        "Implicit termination",
        "A run ends when nothing is left to do.",
        "A plan has no end step: the run ends after its last step, wherever that is.",
        """\
plan:
  id: pattern-implicit-termination
  parallel: true
  steps:
    - {id: left, skill: noop, action: pass}
    - {id: right, skill: noop, action: pass}
    - {id: further, skill: noop, action: pass, dependsOn: [right]}
""",
    ),
    ControlFlowPattern(
        12,
        "Multiple instances without synchronization",
        "A step runs several times, and nothing waits for it.",
        "`forEach` runs a step for each item. Steps that do not depend on it do not wait.",
        """\
plan:
  id: pattern-instances
  parallel: true
  steps:
    - {id: each, forEach: [a, b, c], as: letter, skill: noop, action: pass, params: {value: $letter}}
    - {id: meanwhile, skill: noop, action: pass}
""",
    ),
    ControlFlowPattern(
        13,
        "Multiple instances known at design time",
        "A step runs a fixed number of times, and the next one waits for all.",
        "`forEach` has a list that is written in the plan.",
        """\
plan:
  id: pattern-instances-at-design-time
  parallel: true
  steps:
    - {id: each, forEach: [a, b, c], as: letter, skill: noop, action: pass, params: {value: $letter}}
    - {id: after, skill: noop, action: pass, dependsOn: [each], params: {value: $each.output.count}}
""",
    ),
    ControlFlowPattern(
        14,
        "Multiple instances known at run time",
        "How often a step runs is known before its first time, and the next one waits for"
        " all.",
        "`forEach` has a list from an earlier step or an input.",
        """\
plan:
  id: pattern-instances-at-run-time
  parallel: true
  steps:
    - {id: list, skill: noop, action: pass, params: {value: [a, b]}}
    - {id: each, forEach: $list.output.value, as: letter, dependsOn: [list], skill: noop, action: pass, params: {value: $letter}}
    - {id: after, skill: noop, action: pass, dependsOn: [each], params: {value: $each.output.count}}
""",
    ),
    ControlFlowPattern(
        15,
        "Multiple instances not known before",
        "While a step already runs several times, more times are added.",
        "The list of `forEach` is fixed when the step is released, because from then on"
        " people approve its items.",
    ),
    ControlFlowPattern(
        16,
        "Deferred choice",
        "What happens outside picks the branch, not data of the run.",
        "A step waits for an event, and `choose` reads its payload.",
        """\
plan:
  id: pattern-deferred-choice
  steps:
    - {id: answer, kind: wait, event: {type: pattern.answered, key: order-1}, expiresIn: 1d}
    - id: route
      kind: choose
      dependsOn: [answer]
      choose:
        - {if: 'steps.answer.output.choice == "ship"', then: [ship]}
        - {else: [refund]}
    - {id: ship, skill: noop, action: pass}
    - {id: refund, skill: noop, action: pass}
""",
    ),
    ControlFlowPattern(
        17,
        "Interleaved parallel routing",
        "Steps run in any order, but never two at the same time.",
        "Steps with the same `concurrency` key run one at a time, whichever is ready first.",
        """\
plan:
  id: pattern-interleaved
  parallel: true
  steps:
    - {id: left-came, kind: wait, event: {type: pattern.came, key: left}, expiresIn: 1d}
    - {id: right-came, kind: wait, event: {type: pattern.came, key: right}, expiresIn: 1d}
    - {id: left, skill: noop, action: pass, dependsOn: [left-came], concurrency: {key: pattern-room}}
    - {id: right, skill: noop, action: pass, dependsOn: [right-came], concurrency: {key: pattern-room}}
    - {id: after, skill: noop, action: pass, dependsOn: [left, right]}
""",
    ),
    ControlFlowPattern(
        18,
        "Milestone",
        "A step may start only after one point of the run and before another.",
        "The step starts at the first of both points, and its `when` skips it if that was"
        " the later one.",
        """\
plan:
  id: pattern-milestone
  parallel: true
  steps:
    - {id: opened, kind: wait, event: {type: pattern.opened, key: offer-1}, expiresIn: 1d}
    - {id: closed, kind: wait, event: {type: pattern.closed, key: offer-1}, expiresIn: 1d}
    - id: order
      skill: noop
      action: pass
      dependsOn: [opened, closed]
      triggerRule: one_success
      when: 'steps.opened.state == "succeeded" && steps.closed.state != "succeeded"'
""",
    ),
    ControlFlowPattern(
        19,
        "Cancel activity",
        "One step is cancelled while the run continues.",
        "A step that waits can expire, and a user can reject its approval or cancel the"
        " whole run, but nothing cancels one step from outside.",
    ),
    ControlFlowPattern(
        20,
        "Cancel case",
        "The whole run is cancelled.",
        "A user cancels the run: steps that have not started are cancelled, and running"
        " ones may finish first.",
        """\
plan:
  id: pattern-cancel-case
  steps:
    - {id: first, skill: noop, action: pass}
    - {id: pause, kind: wait, for: 1d, dependsOn: [first]}
    - {id: last, skill: noop, action: pass, dependsOn: [pause]}
""",
    ),
]
