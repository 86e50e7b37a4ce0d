/* Line numbers beside the plan, links to the lines of problems, and the result for
   screen readers. Without it the page works, and problems show their lines as text. */
(function () {
  "use strict";
  const text = document.querySelector("[data-plan-text]");
  const gutter = document.querySelector("[data-plan-gutter]");
  const file = document.querySelector("[data-plan-file]");
  const form = text.form;
  const encoder = new TextEncoder();
  const links = () => [...document.querySelectorAll("#findings [data-line]")];
  let drawn = 0;

  function draw() {
    const count = text.value.split("\n").length;
    if (count !== drawn) {
      const wrong = new Set(links().map((link) => Number(link.dataset.line)));
      const numbers = document.createDocumentFragment();
      for (let number = 1; number <= count; number += 1) {
        const line = document.createElement("span");
        line.textContent = number;
        if (wrong.has(number)) line.className = "editor-wrong";
        numbers.append(line);
      }
      gutter.replaceChildren(numbers);
      drawn = count;
    }
    gutter.scrollTop = text.scrollTop;
  }

  function jump(line, column) {
    if (window.planForm?.isShown()) return window.planForm.openLine(line);
    if (window.planEditor) return window.planEditor.jump(line, column);
    const lines = text.value.split("\n");
    const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    const end = start + (lines[line - 1] || "").length;
    text.focus({ preventScroll: true });
    text.setSelectionRange(Math.min(start + column - 1, end), end);
    const height = parseFloat(getComputedStyle(text).lineHeight);
    text.scrollTop = Math.max(0, (line - 4) * height);
    text.scrollIntoView({ block: "nearest" });
    draw();
  }

  /* Counted like the server does: names and values of a form, without files. */
  function size() {
    let sum = 0;
    for (const [name, value] of new FormData(form)) {
      if (typeof value !== "string") continue;
      sum += name.length + 2 + encoder.encode(value.replace(/\r?\n/g, "\r\n")).length;
    }
    return sum;
  }

  /* Checked before sending, so that nothing typed is lost. The server checks again. */
  function isRefused() {
    const tooLarge = [...form.querySelectorAll("input[type=file][data-refusal]")].find(
      (field) => field.files[0] && field.files[0].size > Number(field.dataset.mostBytes)
    );
    let reason = "";
    if (tooLarge) reason = tooLarge.dataset.refusal;
    else if (size() > Number(form.dataset.mostBytes)) reason = "form-too-large";
    const refusal = document.getElementById("refusal");
    refusal.hidden = !reason;
    if (!reason) return false;
    const alert = document.getElementById(reason).content.firstElementChild.cloneNode(true);
    refusal.replaceWith(alert);
    alert.scrollIntoView({ block: "nearest" });
    return true;
  }

  form.addEventListener("submit", (event) => {
    if (isRefused()) event.preventDefault();
  });

  gutter.hidden = Boolean(window.planEditor);
  text.addEventListener("input", draw);
  text.addEventListener("scroll", () => (gutter.scrollTop = text.scrollTop));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("#findings a[data-line], #graph a[data-line]");
    if (!link) return;
    event.preventDefault();
    jump(Number(link.dataset.line), Number(link.dataset.column) || 1);
  });
  /* A chosen file goes into the text field at once, so that the user sees what is checked. */
  file.addEventListener("change", async () => {
    const chosen = file.files[0];
    if (isRefused() || !chosen) return;
    const content = await chosen.text();
    if (content.includes("\0") || content.includes("\ufffd")) return;
    text.value = content;
    file.value = "";
    text.dispatchEvent(new Event("input", { bubbles: true }));
  });
  draw();

  /* Files are sent when the form is, not while someone types. */
  document.addEventListener("htmx:configRequest", (event) => {
    if (!event.target.matches("[data-plan-preview], [data-form-view]")) return;
    const sent = event.detail.formData;
    for (const [name, value] of [...sent]) if (value instanceof File) sent.delete(name);
    if (size() > Number(form.dataset.mostBytes)) event.preventDefault();
  });

  /* Fields under the cursor are replaced after the next change. */
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const card = event.detail.target;
    if (card.id === "inputs-card" && card.contains(document.activeElement)) event.detail.shouldSwap = false;
  });

  const status = document.getElementById("check-status");
  /* A live region announces only changes, so it has to be empty first. */
  setTimeout(() => (status.textContent = status.dataset.result), 300);
})();
