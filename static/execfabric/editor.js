/* The plan editor: CodeMirror over the text field, which stays the field of the form.
   Problems are marked while someone types; without this script the field works as it is. */
(function () {
  "use strict";
  const field = document.querySelector("[data-plan-text]");
  if (!field || !window.CodeMirror) return;
  const CM = window.CodeMirror;
  const { tags } = CM;
  let vocabulary = null;

  async function words() {
    vocabulary ||= fetch(field.dataset.vocabulary, { credentials: "same-origin" })
      .then((response) => (response.ok ? response.json() : null))
      .catch(() => null);
    const found = await vocabulary;
    if (!found) vocabulary = null;
    return found || { skills: [] };
  }

  async function complete(context) {
    const text = context.state.doc.toString();
    const found = window.PlanCompletion.complete(text, context.pos, await words());
    if (!found || !found.options.length) return null;
    if (!context.explicit && found.from === context.pos && !/[:{,$-]\s?$/.test(text.slice(0, context.pos))) return null;
    return { ...found, validFor: /^[\w.$-]*$/ };
  }

  /* One problem as CodeMirror marks it: the reference that it is about, or from its column
     to the end of the word. */
  function diagnostic(doc, problem) {
    const line = doc.line(Math.min(Math.max(problem.line || 1, 1), doc.lines));
    const start = Math.min(line.from + (problem.column || 1) - 1, line.to);
    const [reference] = problem.message.match(/^\$[\w.-]+/) || [];
    const found = reference ? line.text.indexOf(reference, start - line.from) : -1;
    const from = found < 0 ? start : line.from + found;
    const word = doc.sliceString(from, line.to).match(/^[^\s,}\]]+/);
    const to = Math.min(from + (word ? word[0].length : 1), doc.length);
    return { from, to: Math.max(from, to), severity: problem.severity, message: problem.message.replace(/`([^`]+)`/g, "“$1”") };
  }

  async function problems(view) {
    const doc = view.state.doc;
    if (!doc.toString().trim() || doc.length > Number(field.form.dataset.mostBytes)) return [];
    const form = new FormData(field.form);
    form.set("text", doc.toString());
    /* Files are sent when the form is, not while someone types. */
    for (const [name, value] of [...form]) if (value instanceof File) form.delete(name);
    let response;
    try {
      response = await fetch(field.dataset.problems, { method: "POST", body: form, credentials: "same-origin" });
    } catch {
      return []; // The page says elsewhere that the connection is lost.
    }
    if (!response.ok) return [];
    const found = (await response.json()).problems;
    return found.filter((each) => each.line).map((each) => diagnostic(doc, each));
  }

  const look = CM.HighlightStyle.define([
    { tag: [tags.propertyName, tags.definition(tags.propertyName)], class: "code-key" },
    { tag: [tags.string, tags.content], class: "code-text" },
    { tag: tags.comment, class: "code-comment" },
    { tag: [tags.separator, tags.punctuation, tags.brace, tags.squareBracket], class: "code-mark" },
  ]);

  function changed(update) {
    if (!update.docChanged) return;
    field.value = update.state.doc.toString();
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  const view = new CM.EditorView({
    doc: field.value,
    parent: field.parentElement,
    extensions: [
      CM.EditorView.cspNonce.of(field.dataset.nonce),
      CM.EditorView.contentAttributes.of({ "aria-labelledby": "text-title", spellcheck: "false", tabindex: "0" }),
      CM.EditorView.updateListener.of(changed),
      CM.lineNumbers(),
      CM.history(),
      CM.drawSelection(),
      CM.highlightSpecialChars(),
      CM.indentOnInput(),
      CM.indentUnit.of("  "),
      CM.bracketMatching(),
      CM.closeBrackets(),
      CM.yaml(),
      CM.syntaxHighlighting(look),
      CM.autocompletion({ override: [complete], icons: false }),
      CM.linter(problems, { delay: 600 }),
      CM.lintGutter(),
      CM.search({ top: true }),
      // Tab moves the focus, as in every field of a form.
      CM.keymap.of([...CM.closeBracketsKeymap, ...CM.defaultKeymap, ...CM.searchKeymap, ...CM.historyKeymap, ...CM.completionKeymap, ...CM.lintKeymap]),
    ],
  });
  field.hidden = true;
  document.querySelector("[data-plan-gutter]").hidden = true;

  /* Another script has written into the field: a restored draft, or a chosen file. */
  field.addEventListener("input", () => {
    const text = view.state.doc.toString();
    const next = field.value.replace(/\r\n?/g, "\n");
    if (next === text) return;
    // Only what differs, as one step to undo.
    let from = 0;
    while (from < text.length && text[from] === next[from]) from += 1;
    let [to, end] = [text.length, next.length];
    while (to > from && end > from && text[to - 1] === next[end - 1]) [to, end] = [to - 1, end - 1];
    view.dispatch({ changes: { from, to, insert: next.slice(from, end) }, userEvent: "replace" });
  });

  document.querySelector("label[for=text]")?.addEventListener("click", () => view.focus());

  window.planEditor = {
    undo: () => CM.undo(view),
    redo: () => CM.redo(view),
    focus: () => view.focus(),
    jump(line, column) {
      const found = view.state.doc.line(Math.min(line, view.state.doc.lines));
      const from = Math.min(found.from + column - 1, found.to);
      view.dispatch({ selection: { anchor: from, head: found.to }, scrollIntoView: true });
      view.focus();
    },
  };
})();
