/* What can follow at the cursor in a plan: keys, skills, actions, parameters, references.
   Plans are read line by line here, because they are incomplete while someone types. */
window.PlanCompletion = (function () {
  "use strict";
  const STEP_KEYS = ["id", "name", "skill", "action", "dependsOn", "when", "choose", "forEach", "as", "max", "join", "onItemError", "params", "approval", "kind", "for", "until", "event", "expiresIn", "form", "ask", "retry", "timeout", "triggerRule", "rollback", "onError", "fallback", "sla", "concurrency", "plan", "inputs"];
  const FALLBACK_KEYS = ["skill", "action", "version", "params"];
  const PLAN_KEYS = ["id", "name", "description", "inputs", "parallel", "onFailure", "rollbackAfterFailures", "sla", "concurrency", "outputs", "steps"];
  const VALUES = {
    kind: ["skill", "approval", "choose", "wait", "input", "plan"],
    triggerRule: ["all_success", "one_success", "all_done"],
    onFailure: ["pause", "abort", "continue", "rollback"],
    onError: ["pause", "abort", "continue", "rollback"],
    onItemError: ["stop", "continue"],
    join: ["all", "any"],
  };
  const ITEM_OUTPUTS = ["items", "count", "succeeded", "failed"];
  const indentOf = (line) => line.search(/\S|$/);

  /* Steps with the lines that they take: [{start, end, indent, id, skill, action, as, hasItems}]. */
  function stepsOf(lines) {
    const head = lines.findIndex((line) => /^\s*steps:\s*(#.*)?$/.test(line));
    const first = lines.findIndex((line, at) => head >= 0 && at > head && /^\s*-/.test(line));
    if (first < 0) return [];
    const dash = indentOf(lines[first]);
    const steps = [];
    for (let at = first; at < lines.length; at += 1) {
      const line = lines[at];
      if (line.trim() && indentOf(line) < dash) break;
      if (indentOf(line) === dash && line[dash] === "-") steps.push({ start: at, end: at, indent: dash });
      else steps[steps.length - 1].end = at;
    }
    for (const step of steps) {
      const text = lines.slice(step.start, step.end + 1).join("\n");
      step.text = text;
      step.hasItems = /(?:^|[\s{,-])forEach:/m.test(text);
      for (const key of ["id", "kind", "skill", "action", "plan", "as"]) {
        const found = text.match(new RegExp(`(?:^|[\\s{,-])${key}:[ \\t]*["']?([\\w-]+)`, "m"));
        step[key] = found ? found[1] : "";
      }
    }
    return steps;
  }

  /* The names below `properties:` of a schema, written in lines or in braces. */
  function propertiesOf(key, text) {
    const start = text.search(new RegExp(`(^|[\\s{,])${key}:`));
    const properties = start < 0 ? -1 : text.indexOf("properties:", start);
    if (properties < 0) return [];
    const rest = text.slice(properties + "properties:".length);
    const end = rest.search(/\n\s*steps:/);
    const part = end < 0 ? rest : rest.slice(0, end);
    if (/^\s*\{/.test(part)) {
      const names = [];
      let depth = 0;
      for (const piece of part.match(/[{}]|[\w-]+(?=\s*:)/g) || []) {
        if (piece === "{") depth += 1;
        else if (piece === "}") depth -= 1;
        else if (depth === 1) names.push(piece);
        if (depth === 0) break;
      }
      return names;
    }
    const lines = part.split("\n").filter((line) => line.trim());
    const indent = lines.length ? indentOf(lines[0]) : 0;
    const after = lines.findIndex((line) => indentOf(line) < indent);
    return lines
      .slice(0, after < 0 ? lines.length : after)
      .filter((line) => indentOf(line) === indent)
      .map((line) => line.trim().match(/^([\w-]+):/))
      .filter(Boolean)
      .map((found) => found[1]);
  }

  const option = (label, detail, info, apply) => ({ label, detail, info, apply: apply || label });

  function references(lines, steps, here, vocabulary) {
    const before = lines.slice(0, steps.length ? steps[0].start : lines.length).join("\n");
    const options = propertiesOf("inputs", before).map((name) => option(`$inputs.${name}`, "input"));
    for (const name of propertiesOf("blueprint", before)) options.push(option(`$blueprint.${name}`, "blueprint"));
    for (const step of steps) {
      if (step === here || !step.id) continue;
      const action = actionOf(step, vocabulary);
      options.push(option(`$${step.id}.output`, "output"));
      const outputs = step.hasItems ? ITEM_OUTPUTS : action?.outputs || [];
      for (const name of outputs) options.push(option(`$${step.id}.output.${name}`, "output"));
      for (const name of (!step.hasItems && action?.files) || []) options.push(option(`$${step.id}.files.${name}`, "file"));
      const declared = (!step.hasItems && planOf(step, vocabulary)?.outputs) || [];
      const answers = !step.hasItems && step.kind === "input" ? propertiesOf("form", step.text) : [];
      for (const name of answers) options.push(option(`$${step.id}.output.${name}`, "answer"));
      for (const name of declared) options.push(option(`$${step.id}.output.${name}`, "output"));
    }
    if (here?.hasItems) {
      options.unshift(option(`$${here.as || "item"}`, "the item"), option("$index", "its index"));
    }
    options.push(option("$run.id", "the run"));
    return options;
  }

  const skillOf = (step, vocabulary) => vocabulary.skills.find((skill) => skill.slug === step?.skill);
  const actionOf = (step, vocabulary) =>
    skillOf(step, vocabulary)?.actions.find((action) => action.name === step?.action);

  const planOf = (step, vocabulary) => (vocabulary.plans || []).find((plan) => plan.id === step?.plan);

  /* What the step takes where the cursor is: the params of its action, or the inputs of
     its saved plan; null anywhere else. */
  function takenAt(lines, step, row, before, vocabulary) {
    if (isInside("params:", lines, step, row, before)) return actionOf(step, vocabulary)?.params || [];
    if (isInside("inputs:", lines, step, row, before)) return planOf(step, vocabulary)?.inputs || [];
    return null;
  }

  /* True if the cursor is inside this key of the step, in lines or in braces. */
  function isInside(key, lines, step, row, before) {
    const text = [...lines.slice(step.start, row), before].join("\n");
    const at = text.search(new RegExp(`(^|[\\s{,])${key}`));
    if (at < 0) return false;
    const after = text.slice(text.indexOf(key, at) + key.length);
    if (/^\s*\{/.test(after)) {
      const open = (after.match(/\{/g) || []).length - (after.match(/\}/g) || []).length;
      return open > 0;
    }
    const from = step.start + text.slice(0, text.indexOf(key, at)).split("\n").length - 1;
    const line = lines[from];
    const column = line.indexOf(key);
    return row > from && lines.slice(from + 1, row).every((each) => !each.trim() || indentOf(each) > column) &&
      indentOf(before) > column;
  }

  /* The fallback around the cursor, as a step of its own: {lines, part, before}. */
  function fallbackAt(lines, step, row, before) {
    if (!step || !isInside("fallback:", lines, step, row, before)) return { lines, part: step, before };
    const start = lines.findIndex((line, at) => at >= step.start && /(^|[\s{,])fallback:/.test(line));
    const column = lines[start].indexOf("fallback:");
    const without = (line) => " ".repeat(column) + line.slice(column);
    const own = lines.map((line, at) => (at === start ? without(line) : line));
    const text = own.slice(start, step.end + 1).join("\n");
    const part = { ...step, start, keys: FALLBACK_KEYS };
    for (const key of ["skill", "action"]) {
      const found = text.match(new RegExp(`(?:^|[\\s{,-])${key}:[ \\t]*["']?([\\w-]+)`, "m"));
      part[key] = found ? found[1] : "";
    }
    return { lines: own, part, before: row === start ? without(before) : before };
  }

  function keys(names, explain) {
    return names.map((name) => option(name, "", explain?.(name), `${name}: `));
  }

  /* Return {from, options} for a position, or null. `text` is the whole document. */
  function complete(text, position, vocabulary) {
    const lines = text.split("\n");
    const start = text.lastIndexOf("\n", position - 1) + 1;
    const row = text.slice(0, start).split("\n").length - 1;
    const before = text.slice(start, position);
    const steps = stepsOf(lines);
    const step = steps.find((each) => each.start <= row && row <= each.end);
    const reference = before.match(/\$[\w.-]*$/);
    if (reference) {
      return { from: position - reference[0].length, options: references(lines, steps, step, vocabulary) };
    }
    const value = before.match(/(?:^|[\s{,-])([\w]+):[ \t]*["']?([\w-]*)$/);
    const here = fallbackAt(lines, step, row, before);
    if (value) return valuesAt(value, position, steps, step, row, here, vocabulary);
    const key = before.match(/(?:^\s*-?\s*|[{,]\s*)([\w]*)$/);
    if (!key) return null;
    const from = position - key[1].length;
    if (!step) return /^\w*$/.test(before.trim()) ? { from, options: keys(PLAN_KEYS) } : null;
    const taken = takenAt(here.lines, here.part, row, here.before, vocabulary);
    if (!taken) return { from, options: keys(here.part.keys || STEP_KEYS) };
    const options = taken.map((each) =>
      option(each.name, each.required ? "required" : each.type, each.description, `${each.name}: `));
    return { from, options };
  }

  function valuesAt(value, position, steps, step, row, here, vocabulary) {
    const [, name, typed] = value;
    const { lines, part, before } = here;
    const from = position - typed.length;
    const taken = part && takenAt(lines, part, row, before, vocabulary);
    if (taken) {
      const param = taken.find((each) => each.name === name);
      const choices = (param?.choices || []).map((each) => option(String(each), "value"));
      return { from, options: [...choices, ...references(lines, steps, step, vocabulary)] };
    }
    if (name === "skill") {
      return { from, options: vocabulary.skills.map((each) => option(each.slug, each.risk, each.description)) };
    }
    if (name === "action") {
      const actions = skillOf(part, vocabulary)?.actions || [];
      return { from, options: actions.map((each) => option(each.name, each.risk, each.summary)) };
    }
    if (name === "plan" && step) {
      const plans = vocabulary.plans || [];
      return { from, options: plans.map((each) => option(each.id, `revision ${each.revision}`, each.description || each.name)) };
    }
    if (VALUES[name]) return { from, options: VALUES[name].map((each) => option(each)) };
    return null;
  }

  return { complete };
})();
