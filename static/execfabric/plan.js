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
    const chosen = file.files[0];
    let reason = "";
    if (chosen && chosen.size > Number(file.dataset.mostBytes)) reason = "file-too-large";
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

  gutter.hidden = false;
  text.addEventListener("input", draw);
  text.addEventListener("scroll", () => (gutter.scrollTop = text.scrollTop));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("#findings a[data-line]");
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
    draw();
  });
  draw();

  const status = document.getElementById("check-status");
  /* A live region announces only changes, so it has to be empty first. */
  setTimeout(() => (status.textContent = status.dataset.result), 300);
})();
