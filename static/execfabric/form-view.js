/* The form view of the plan editor. The text stays the plan: each change is sent with the
   text, and the answer is the new text and the cards. Without it the text is edited. */
(function () {
  "use strict";
  const box = document.querySelector("[data-form-view]");
  const text = document.querySelector("[data-plan-text]");
  const views = document.querySelector("[data-plan-views]");
  if (!box || !window.htmx) return;
  const composer = text.form;
  const tabs = { text: document.getElementById("view-text"), form: document.getElementById("view-form") };
  const PAUSE = 700; // milliseconds after the last key
  let queue = Promise.resolve();
  let waiting = 0;
  let timer = 0;
  let answer = null;
  let isOwn = false;

  const isShown = () => !box.hidden;
  const inputs = () => [...box.querySelectorAll("[name^='field:']")];
  const isBox = (field) => field.type === "checkbox";
  const valueOf = (field) => (isBox(field) ? field.checked : field.value);
  const keyOf = (field) => field.name + (isBox(field) ? "=" + field.value : "");
  const rendered = new WeakMap(); // what the server last put into each field
  const held = new WeakMap(); // what it made of a field in which someone is typing
  const isChanged = (field) => field.closest("[data-refused]") || valueOf(field) !== rendered.get(field);
  const isUnsent = () => inputs().some(isChanged);
  const refused = () => box.querySelector("[name][data-refused], fieldset[data-refused] [type=checkbox]");
  const failed = () => box.querySelector("[data-failed]");
  const retry = () => failed()?.querySelector("[data-act]").dataset.act || "";
  const snapshot = () => new Map(inputs().map((field) => [keyOf(field), valueOf(field)]));
  const opened = () => document.getElementById("form-view-text")?.dataset.open || "";

  /* Only what was changed here: the text may have become newer than the other fields. */
  function values(act, withFields) {
    const sent = { act, open: opened(), text: text.value };
    const changed = new Set(withFields ? inputs().filter(isChanged).map((field) => field.name) : []);
    for (const field of inputs()) {
      if (!changed.has(field.name) || (isBox(field) && !field.checked)) continue;
      (sent[field.name] ||= []).push(field.value);
    }
    return sent;
  }

  /* One request at a time, so that each starts from the text that the last one made. */
  function send(act, { withFields = true } = {}) {
    clearTimeout(timer);
    timer = 0;
    waiting += 1;
    const since = withFields ? null : snapshot();
    queue = queue.then(() => request(act, since)).catch(() => false).finally(() => (waiting -= 1));
    return queue;
  }

  /* `since`: the fields when the text changed, if they are to be made from it again. */
  async function request(act, since) {
    const before = text.value;
    const sent = since || snapshot();
    answer = null;
    box.setAttribute("aria-busy", "true");
    try {
      await htmx.ajax("POST", box.dataset.formView, { source: box, target: box, values: values(act, !since) });
    } catch {
      answer = null; // no connection
    }
    box.removeAttribute("aria-busy");
    if (answer === null) return fail(act);
    if (text.value !== before) return request("", sent);
    show(answer, sent, since ? null : document.activeElement);
    return !refused();
  }

  /* Everything typed goes into the text. If something cannot, it is shown. */
  async function settle() {
    if (timer || (!waiting && (failed() || isUnsent()))) send(retry());
    await queue;
    if (timer || waiting) return settle();
    if (!failed() && !isUnsent()) return true;
    const field = refused();
    field?.closest("details")?.setAttribute("open", "");
    field?.focus();
    failed()?.scrollIntoView({ block: "nearest" });
    return false;
  }

  /* What was typed is still in its field, and is sent again with the next change. A button
     that was pressed is repeated by Retry. */
  function fail(act) {
    const notice = document.getElementById("form-view-failed").content.firstElementChild;
    if (!failed()) box.prepend(notice.cloneNode(true));
    if (act) failed().querySelector("[data-act]").dataset.act = act;
    return false;
  }

  box.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target !== box || event.detail.xhr.status !== 200) return;
    event.detail.shouldSwap = false;
    answer = event.detail.xhr.responseText;
  });

  function show(html, sent, typing) {
    const next = document.createElement("template");
    next.innerHTML = html;
    const result = next.content.getElementById("form-view-text");
    const isSame = keysOf(next.content) === keysOf(box) && result.dataset.open === opened();
    const focus = result.dataset.focus;
    failed()?.remove();
    if (isSame && !focus) merge(next.content, sent, typing);
    else replace(next.content, sent, typing, result.dataset.open === opened());
    write(result.value);
    setFocus(focus);
  }

  const fieldKey = (field) => [keyOf(field), field.tagName, ...[...(field.options || [])].map((one) => one.value)].join();
  const keysOf = (root) =>
    [...root.querySelectorAll("[name^='field:'], .form-card")].map((one) => one.dataset.card || fieldKey(one)).join();

  /* Nothing that is being typed is replaced: only the heads of cards, problems, and fields
     that have not changed since the request. */
  function merge(next, sent, typing) {
    for (const fresh of next.querySelectorAll("[data-fresh]")) {
      const old = document.getElementById(fresh.id);
      if (old.innerHTML === fresh.innerHTML && !fresh.matches("[data-of]")) continue;
      const focused = old.contains(document.activeElement) && document.activeElement.id;
      old.replaceWith(fresh);
      if (focused) document.getElementById(focused)?.focus();
    }
    document.getElementById("form-view-text").replaceWith(next.getElementById("form-view-text"));
    const fields = new Map([...next.querySelectorAll("[name^='field:']")].map((field) => [keyOf(field), field]));
    for (const field of inputs()) put(field, valueOf(fields.get(keyOf(field))), kept(field, sent, typing));
    markInvalid();
  }

  /* What stays in a field: what was typed since the request, and what is being typed. */
  function kept(field, sent, typing) {
    const value = valueOf(field);
    const isLater = value !== sent.get(keyOf(field)) && (typing || value !== rendered.get(field));
    const isTyping = field === typing && (held.has(field) || value !== rendered.get(field));
    return isLater || isTyping ? { value, isLater } : null;
  }

  function put(field, made, stays) {
    take(field, stays ? stays.value : made);
    rendered.set(field, stays && !stays.isLater ? stays.value : made);
    if (stays && !stays.isLater) held.set(field, made);
    else held.delete(field);
  }

  function take(field, value) {
    if (isBox(field)) field.checked = value;
    else if (field.options && ![...field.options].some((one) => one.value === value)) return;
    else if (field.value !== value) field.value = value;
  }

  function replace(next, sent, typing, isSameCard) {
    const stays = new Map(inputs().map((field) => [keyOf(field), isSameCard && kept(field, sent, typing)]));
    const active = document.activeElement;
    const open = [...box.querySelectorAll("details[open]")].map((one) => one.id);
    const place = box.contains(active) && { id: active.id, start: active.selectionStart };
    box.replaceChildren(next);
    for (const id of isSameCard ? open : []) document.getElementById(id)?.setAttribute("open", "");
    for (const field of inputs()) put(field, valueOf(field), stays.get(keyOf(field)));
    if (inputs().some((field) => stays.get(keyOf(field))?.isLater)) later();
    const here = place && place.id && document.getElementById(place.id);
    if (here) {
      here.focus({ preventScroll: true });
      if (place.start !== undefined && place.start !== null) here.setSelectionRange?.(place.start, place.start);
    }
    markInvalid();
  }

  function markInvalid() {
    for (const about of box.querySelectorAll("[data-of]")) {
      const field = document.getElementById(about.dataset.of);
      field?.toggleAttribute("data-refused", "refused" in about.dataset);
      if ("invalid" in about.dataset) {
        if (field?.name) field.setAttribute("aria-invalid", "true");
        about.closest("details")?.setAttribute("open", "");
      }
      else field?.removeAttribute("aria-invalid");
    }
  }

  function write(made) {
    if (made === text.value.replace(/\r\n?/g, "\n")) return;
    isOwn = true;
    text.value = made;
    text.dispatchEvent(new Event("input", { bubbles: true }));
    isOwn = false;
  }

  function setFocus(id) {
    if (!id) return;
    const first = id === "first-field" && box.querySelector(".form-card-body input:not([type=hidden])");
    const target = first || document.getElementById(id);
    target?.focus({ preventScroll: true });
    target?.closest(".form-card, .form-add")?.scrollIntoView({ block: "nearest" });
  }

  /* After a pause in typing. Ids and whole steps wait until they are complete. */
  function later() {
    clearTimeout(timer);
    timer = setTimeout(() => send(""), PAUSE);
  }

  box.addEventListener("input", (event) => {
    if (event.target.name?.startsWith("field:") && !("late" in event.target.dataset)) later();
  });
  box.addEventListener("change", (event) => {
    if (event.target.name?.startsWith("field:")) send("");
  });
  box.addEventListener("focusout", ({ target }) => {
    if (held.has(target) && valueOf(target) === rendered.get(target)) put(target, held.get(target));
    held.delete(target);
  });
  box.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act], [data-history]");
    if (!button || button.disabled) return;
    if (button.dataset.history) return travel(button.dataset.history);
    const from = button.dataset.actOf;
    send(from ? `${button.dataset.act}:${document.getElementById(from).value.trim()}` : button.dataset.act);
  });
  box.addEventListener("keydown", (event) => {
    const isText = event.target.matches("input:not([type=checkbox]), textarea");
    if (event.key === "Enter" && event.target.id === "new-input") {
      event.preventDefault();
      box.querySelector("[data-act-of=new-input]").click();
    } else if (event.key === "Enter" && event.target.matches("input")) {
      event.preventDefault();
      send("");
    } else if ((event.ctrlKey || event.metaKey) && !isText && /^[zy]$/i.test(event.key)) {
      event.preventDefault();
      travel(event.key.toLowerCase() === "y" || event.shiftKey ? "redo" : "undo");
    }
  });

  /* What was refused is not in the text: the first undo takes it back. */
  async function travel(direction) {
    if ((await settle()) || !isUnsent()) window.planEditor?.[direction]();
    else if (refused() && direction === "undo") send("", { withFields: false });
  }

  /* The text has changed elsewhere: an undo, a restored draft, a chosen file. */
  text.addEventListener("input", () => {
    if (isShown() && !isOwn) send("", { withFields: false });
  });

  function select(name, { focus = false } = {}) {
    const isForm = name === "form";
    for (const [key, tab] of Object.entries(tabs)) {
      tab.setAttribute("aria-selected", String(key === name));
      tab.tabIndex = key === name ? 0 : -1;
    }
    document.getElementById("text-view").hidden = isForm;
    box.hidden = !isForm;
    try {
      localStorage.setItem("plan-view", name);
    } catch {
      /* The view is not remembered. */
    }
    if (isForm) send("", { withFields: false });
    else failed()?.remove();
    if (focus) tabs[name].focus();
  }

  async function change(name, options) {
    if ((await settle()) || !isUnsent()) select(name, options);
  }

  views.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) change(tab === tabs.form ? "form" : "text");
  });
  views.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    change(isShown() ? "text" : "form", { focus: true });
  });

  /* A plan is sent when all changes of the form are in its text. */
  composer.addEventListener(
    "submit",
    (event) => {
      if (!timer && !waiting && !failed() && !isUnsent()) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      const { submitter } = event;
      settle().then((isDone) => isDone && setTimeout(() => composer.requestSubmit(submitter)));
    },
    true,
  );
  document.getElementById("form-view-fields").addEventListener("submit", (event) => event.preventDefault());

  window.planForm = { isShown, openLine: (line) => send(`line:${line}`) };
  views.hidden = false;
  let remembered = "text";
  try {
    remembered = localStorage.getItem("plan-view") || "text";
  } catch {
    /* The first view is shown. */
  }
  if (remembered === "form") select("form");
})();
