/* Small conveniences. Every page works without them. */
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
      return; /* no clipboard without a secure context: the title holds the text */
    }
    button.dataset.copied = "";
    setTimeout(() => delete button.dataset.copied, 1200);
  }

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-theme-toggle], [data-copy], [data-open-all]");
    if (!target) {
      closePops(event.target);
      return;
    }
    if ("themeToggle" in target.dataset) toggleTheme();
    if (target.dataset.copy) copy(target);
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

  function openAll(button) {
    const all = [...document.querySelectorAll(button.dataset.openAll)];
    const open = all.some((details) => !details.open);
    all.forEach((details) => (details.open = open));
  }

  /* Details are fetched when they are opened; what failed is fetched at the next opening. */
  document.addEventListener(
    "toggle",
    (event) => {
      const body = event.target.open && event.target.querySelector("[data-lazy], [data-stale]");
      if (body) htmx.trigger(body, "wanted");
    },
    true,
  );

  /* The same words as the server's: see `relative` and `_until` there. */
  function relative(seconds) {
    const size = Math.abs(seconds);
    if (size < 10) return "just now";
    if (seconds > 0) return "in " + until(size);
    const unit = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].find(([n]) => size >= n);
    return Math.floor(size / unit[0]) + " " + unit[1] + " ago";
  }

  function until(seconds) {
    const whole = Math.round(seconds);
    const minutes = Math.round(whole / 60);
    const hours = Math.round(whole / 3600);
    if (whole < 60) return whole + " s";
    if (minutes < 60) return minutes + " min";
    const joined = (large, unit, small, part) =>
      large + " " + unit + (small ? " " + small + " " + part : "");
    if (minutes < 1440) return joined(Math.floor(minutes / 60), "h", minutes % 60, "min");
    return joined(Math.floor(hours / 24), "d", hours % 24, "h");
  }

  function span(seconds) {
    const whole = Math.floor(seconds);
    const two = (n) => String(n).padStart(2, "0");
    if (whole < 60) return seconds.toFixed(1) + " s";
    if (whole < 3600) return Math.floor(whole / 60) + " min " + two(whole % 60) + " s";
    if (whole < 86400)
      return Math.floor(whole / 3600) + " h " + two(Math.floor((whole % 3600) / 60)) + " min";
    return Math.floor(whole / 86400) + " d " + Math.floor((whole % 86400) / 3600) + " h";
  }

  function tick() {
    if (document.hidden) return;
    const now = Date.now();
    document.querySelectorAll("time[data-relative]").forEach((node) => {
      node.textContent = relative((Date.parse(node.dateTime) - now) / 1000);
    });
    document.querySelectorAll("[data-since]").forEach((node) => {
      node.textContent = span(Math.max(0, (now - Date.parse(node.dataset.since)) / 1000));
    });
  }

  /* The server writes UTC; the title keeps it. */
  const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

  function localize() {
    document.querySelectorAll("time[data-local]").forEach((node) => {
      node.textContent = moment.format(new Date(node.dateTime));
      delete node.dataset.local;
    });
    const zone = document.querySelector("input[name=tz]");
    if (!zone) return;
    zone.value ||= moment.resolvedOptions().timeZone;
    document.querySelectorAll("[data-zone]").forEach((node) => (node.textContent = zone.value));
  }

  localize();
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);
})();
