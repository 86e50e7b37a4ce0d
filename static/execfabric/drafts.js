/* Keep what is typed into a form in this tab until the form is accepted: it survives an
   expired session, an outdated form and a visit to another page. */
(function () {
  "use strict";
  const PREFIX = "draft:";
  const SENT = "draft-sent";
  const SKIPPED = ["hidden", "password", "file", "submit", "button"];
  const store = sessionStorage;

  const keyOf = (form) => PREFIX + document.body.dataset.user + ":" + form.dataset.draft;
  const isChoice = (field) => field.type === "radio" || field.type === "checkbox";
  const fields = (form) =>
    [...form.elements].filter((field) => field.name && !SKIPPED.includes(field.type));
  const idOf = (field) => field.name + (isChoice(field) ? "=" + field.value : "");
  const valueOf = (field) => (isChoice(field) ? field.checked : field.value);

  function defaultOf(field) {
    if (isChoice(field)) return field.defaultChecked;
    if (field.tagName !== "SELECT") return field.defaultValue;
    const options = [...field.options];
    return (options.find((option) => option.defaultSelected) || options[0] || {}).value;
  }

  function read(key) {
    try {
      return JSON.parse(store.getItem(key)) || {};
    } catch {
      return {};
    }
  }

  function save(form) {
    const before = read(keyOf(form));
    const shown = new Set(fields(form).map(idOf));
    // A field that is gone for now keeps its draft: inputs follow the plan as it is typed.
    const draft = Object.fromEntries(Object.entries(before).filter(([id]) => !shown.has(id)));
    for (const field of fields(form)) {
      const was = before[idOf(field)]?.was ?? defaultOf(field);
      const now = valueOf(field);
      if (now !== was) draft[idOf(field)] = { now, was };
    }
    try {
      if (Object.keys(draft).length) store.setItem(keyOf(form), JSON.stringify(draft));
      else store.removeItem(keyOf(form));
    } catch {
      /* Storage is full: the form works without a draft. */
    }
  }

  /* Restore a field only if it has its old default or none: never over newer text. */
  function restore(form) {
    const draft = read(keyOf(form));
    let isRestored = false;
    for (const field of fields(form)) {
      const saved = draft[idOf(field)];
      const known = defaultOf(field);
      if (!saved || saved.now === valueOf(field) || (known !== saved.was && known !== "")) continue;
      if (isChoice(field)) field.checked = saved.now;
      else field.value = saved.now;
      isRestored = true;
    }
    if (isRestored) notify(form);
  }

  function notify(form) {
    if (form.querySelector(".draft-note")) return;
    const note = document.getElementById("draft-note").content.firstElementChild.cloneNode(true);
    note.querySelector("button").addEventListener("click", () => {
      form.reset();
      store.removeItem(keyOf(form));
      note.remove();
      fields(form).forEach((field) => field.dispatchEvent(new Event("input", { bubbles: true })));
    });
    form.prepend(note);
  }

  const ofForm = (event) => event.target.closest?.("form[data-draft]");

  for (const name of ["input", "change"]) {
    document.addEventListener(name, (event) => ofForm(event) && save(ofForm(event)));
  }

  document.addEventListener("submit", (event) => {
    if (event.target.action.endsWith("/logout/")) {
      Object.keys(store)
        .filter((key) => key.startsWith(PREFIX))
        .forEach((key) => store.removeItem(key));
    } else if (ofForm(event) && !event.defaultPrevented) {
      store.setItem(SENT, keyOf(event.target));
    }
  });

  /* A form was accepted if the response is another page without a refusal. */
  function settle(forms) {
    const sent = store.getItem(SENT);
    if (!sent || !document.body.dataset.user) return;
    store.removeItem(SENT);
    const refused = document.querySelector("#refusal:not([hidden])");
    if (!refused && !forms.some((form) => keyOf(form) === sent)) store.removeItem(sent);
  }

  const forms = [...document.querySelectorAll("form[data-draft]")];
  settle(forms);
  forms.forEach(restore);
  document.addEventListener("htmx:load", (event) => {
    const form = event.target.closest?.("form[data-draft]");
    if (form) restore(form);
  });
})();
