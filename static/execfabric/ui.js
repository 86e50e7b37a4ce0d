/* Conveniences. Every page works without them. */
(function () {
  "use strict";
  const root = document.documentElement;

  function isDark() {
    if (root.dataset.theme) return root.dataset.theme === "dark";
    return matchMedia("(prefers-color-scheme: dark)").matches;
  }

  function toggleTheme() {
    root.dataset.theme = isDark() ? "light" : "dark";
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie =
      "theme=" + root.dataset.theme + "; Path=/; Max-Age=31536000; SameSite=Lax" + secure;
  }

  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      return; /* No clipboard without a secure context; the title has the text. */
    }
    button.dataset.copied = "";
    setTimeout(() => delete button.dataset.copied, 1200);
  }

  /* Copy a file exactly as it is stored; without a clipboard, open it. */
  async function copyFrom(button) {
    const word = button.querySelector("[data-copy-word]");
    try {
      const response = await fetch(button.dataset.copyFrom, { credentials: "same-origin" });
      if (!response.ok) throw new Error(response.status);
      await navigator.clipboard.writeText(await response.text());
    } catch {
      location.assign(button.dataset.copyFrom);
      return;
    }
    word.textContent = "Copied";
    setTimeout(() => (word.textContent = "Copy"), 1200);
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest(
      "[data-theme-toggle], [data-copy], [data-copy-from], [data-open-all]",
    );
    if (!target) {
      closePops(event.target);
      return;
    }
    if ("themeToggle" in target.dataset) toggleTheme();
    if (target.dataset.copy) copy(target);
    if (target.dataset.copyFrom) copyFrom(target);
    if (target.dataset.openAll) openAll(target);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const pop = event.target.closest("details.pop[open]");
    if (!pop) return;
    pop.open = false;
    pop.querySelector("summary").focus();
  });

  function closePops(clicked) {
    document.querySelectorAll("details.pop[open]").forEach((pop) => {
      if (!pop.contains(clicked)) pop.open = false;
    });
  }

  /* Open a step on this page and move the focus to it; without it, follow the link. */
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-open-step]");
    const step = link && document.getElementById(link.dataset.openStep);
    if (!step || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    step.querySelector("details").open = true;
    step.querySelector("summary").focus();
    step.scrollIntoView({ block: "start" });
  });

  /* Go to the page of the log with the line in the address, and follow its end. */
  function showLine() {
    const lines = document.getElementById("log-lines");
    const line = /^#L(\d+)$/.exec(location.hash);
    if (!lines) return;
    if (line && !document.getElementById("L" + line[1])) {
      const address = new URL(location.href);
      const asked = address.searchParams.get("line");
      address.search = "?line=" + line[1];
      if (asked !== line[1]) location.replace(address);
    } else if (!line && "follow" in lines.dataset) {
      lines.querySelector(".log-lines").scrollTop = 1e9;
    } else if (!line) {
      document.querySelector(".log-here")?.scrollIntoView({ block: "center" });
    }
  }
  document.addEventListener("DOMContentLoaded", showLine);
  addEventListener("hashchange", showLine);
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.id === "log-lines") showLine();
  });

  function openAll(button) {
    const all = [...document.querySelectorAll(button.dataset.openAll)];
    const open = all.some((details) => !details.open);
    all.forEach((details) => (details.open = open));
  }

  /* Fetch details when they are opened; after a failure, at the next opening. */
  document.addEventListener(
    "toggle",
    (event) => {
      const body = event.target.open && event.target.querySelector("[data-lazy], [data-stale]");
      if (body) htmx.trigger(body, "wanted");
    },
    true,
  );

  /* The same words as `relative` in templatetags/ui.py. */
  function relative(seconds) {
    const size = Math.abs(seconds);
    if (size < 10) return "just now";
    if (seconds > 0) return "in " + until(size);
    const units = [[86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
    const [length, unit] = units.find(([n]) => size >= n);
    return count(Math.floor(size / length), unit) + " ago";
  }

  function until(seconds) {
    const minutes = Math.round(seconds / 60);
    const hours = Math.round(seconds / 3600);
    const two = (large, unit, small, part) =>
      count(large, unit) + (small ? " " + count(small, part) : "");
    if (Math.round(seconds) < 60) return count(Math.round(seconds), "second");
    if (minutes < 60) return count(minutes, "minute");
    if (minutes < 1440) return two(Math.floor(minutes / 60), "hour", minutes % 60, "minute");
    return two(Math.floor(hours / 24), "day", hours % 24, "hour");
  }

  const count = (number, unit) => number + " " + unit + (number === 1 ? "" : "s");

  function span(seconds) {
    const whole = Math.floor(seconds);
    if (whole < 60) return seconds.toFixed(1) + " s";
    if (whole < 3600) return Math.floor(whole / 60) + " min " + two(whole % 60) + " s";
    if (whole < 86400)
      return Math.floor(whole / 3600) + " h " + two(Math.floor((whole % 3600) / 60)) + " min";
    return Math.floor(whole / 86400) + " d " + Math.floor((whole % 86400) / 3600) + " h";
  }

  const two = (n, digits = 2) => String(n).padStart(digits, "0");

  function localTime(at, withMilliseconds) {
    const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
    const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map((n) => two(n)).join(":");
    return day + " " + time + (withMilliseconds ? "." + two(at.getMilliseconds(), 3) : "");
  }

  /* Times come in UTC; the page shows them in the zone of the browser, UTC on hover. */
  function localize() {
    document.querySelectorAll("time[data-local]").forEach((node) => {
      node.textContent = localTime(new Date(node.dateTime), node.dataset.local === "ms");
      delete node.dataset.local;
    });
    document.querySelectorAll("time[data-relative]:not([data-zoned])").forEach((node) => {
      if (node.title) node.title = localTime(new Date(node.dateTime)) + " (" + node.title + ")";
      node.dataset.zoned = "";
    });
    const zone = document.querySelector("input[name=tz]");
    if (!zone) return;
    zone.value ||= Intl.DateTimeFormat().resolvedOptions().timeZone;
    document.querySelectorAll("[data-zone]").forEach((node) => (node.textContent = zone.value));
  }

  function tick() {
    localize();
    if (document.hidden) return;
    const now = Date.now();
    document.querySelectorAll("time[data-relative]").forEach((node) => {
      node.textContent = relative((Date.parse(node.dateTime) - now) / 1000);
    });
    document.querySelectorAll("[data-since]").forEach((node) => {
      node.textContent = span(Math.max(0, (now - Date.parse(node.dataset.since)) / 1000));
    });
  }

  /* A large graph opens at its first step. */
  function focusGraph() {
    const box = document.querySelector(".graph-scroll:not([data-placed])");
    const first = box?.querySelector(".graph-node")?.parentElement;
    if (!first) return;
    box.dataset.placed = "";
    const at = (name) => first[name].baseVal.value;
    box.scrollLeft = at("x") + at("width") / 2 - box.clientWidth / 2;
    box.scrollTop = at("y") + at("height") / 2 - box.clientHeight / 2;
  }

  document.addEventListener("htmx:load", localize);
  document.addEventListener("htmx:load", focusGraph);
  document.addEventListener("DOMContentLoaded", tick);
  document.addEventListener("DOMContentLoaded", focusGraph);
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);
})();
