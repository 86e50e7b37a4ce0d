/* What is typed into a form survives an ended session, a form that is out of date and a
   look at another page: it stays in this tab until the form was accepted. */
(function () {
  "use strict";
  const PREFIX = "draft:";
  const SENT = "draft-sent";
  const SKIPPED = ["hidden", "password", "file", "submit", "button"];
  const store = sessionStorage;

  const keyOf = (form) => PREFIX + document.body.dataset.user + ":" + form.dataset.draft;
  const isChoice = (field) => field.type === "radio" || field.type === "checkbox";
  const fields = (form) =>
    [...form.elements].filter((one) => one.name && !SKIPPED.includes(one.type));
  const idOf = (field) => field.name + (isChoice(field) ? "=" + field.value : "");
  const valueOf = (field) => (isChoice(field) ? field.checked : field.value);

  function defaultOf(field) {
    if (isChoice(field)) return field.defaultChecked;
    if (field.tagName !== "SELECT") return field.defaultValue;
    const options = [...field.options];
    return (options.find((one) => one.defaultSelected) || options[0] || {}).value;
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
    const draft = {};
    for (const field of fields(form)) {
      const was = before[idOf(field)]?.was ?? defaultOf(field);
      const now = valueOf(field);
      if (now !== was) draft[idOf(field)] = { now, was };
    }
    try {
      if (Object.keys(draft).length) store.setItem(keyOf(form), JSON.stringify(draft));
      else store.removeItem(keyOf(form));
    } catch {
      /* no room: the form works without a draft */
    }
  }

  /* Only where the page would show what it showed then, or nothing: never over newer text. */
  function restore(form) {
    const draft = read(keyOf(form));
    let found = false;
    for (const field of fields(form)) {
      const kept = draft[idOf(field)];
      const known = defaultOf(field);
      if (!kept || kept.now === known || (known !== kept.was && known !== "")) continue;
      if (isChoice(field)) field.checked = kept.now;
      else field.value = kept.now;
      found = true;
    }
    if (found) tell(form);
  }

  function tell(form) {
    const note = document.getElementById("draft-note").content.firstElementChild.cloneNode(true);
    note.querySelector("button").addEventListener("click", () => {
      form.reset();
      store.removeItem(keyOf(form));
      note.remove();
      fields(form).forEach((one) => one.dispatchEvent(new Event("input", { bubbles: true })));
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

  /* Accepted: the answer is another page of the console, and no refusal. */
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
})();
