/* Live pages: one socket, one cursor. After a gap, the page requests the events after its
   cursor. The htmx extension reconnects; it has no cursor, no silence timeout and no
   polling, which are here. */
(function () {
  "use strict";
  const POLL = 5000;
  const SILENT = 45000;
  const STALE = 25000;
  const HIDDEN = 300000;
  const FAILURES = 3;
  const KEEP_ROWS = 500;
  const ENDINGS = { 4401: "Signed out – sign in again", 4403: "You no longer have access" };

  const run = { socket: null, wrapper: null, failures: 0, heard: 0, lost: 0, ended: "" };
  let announced = 0;
  let hiddenAt = 0;
  let idle = 0;
  let focused = "";
  let following = [];

  const byId = (id) => document.getElementById(id);
  const isRun = (url) => url.includes("/ws/runs/");

  /* At the top level, because the first socket is opened before DOMContentLoaded. */
  htmx.config.wsReconnectDelay = (tries) =>
    Math.min(8000, 500 * 2 ** tries) * (0.5 + Math.random() / 2);
  htmx.createWebSocket = (url) => {
    if (!isRun(url)) return new WebSocket(url);
    run.parts = parts();
    run.socket = new WebSocket(url + "?" + position());
    return run.socket;
  };

  /* The steps and open logs on the page, so that the server sends only these. */
  function position() {
    const { seq, log } = byId("cursor").dataset;
    const { view } = byId("run-live").dataset;
    const places = [...document.querySelectorAll("#steps .step")].map((one) => +one.dataset.place);
    const shown = places.length ? places[0] + "-" + (places[places.length - 1] + 1) : "";
    return new URLSearchParams({ after: seq, log, view, shown });
  }

  function parts() {
    const current = position();
    return current.get("shown") + " " + current.get("log").replace(/\.\d+/g, "");
  }

  /* Request new steps and logs on the page too. */
  function follow() {
    const cursor = byId("cursor");
    if (!cursor || !byId("run-live")) return;
    const known = new Set(cursor.dataset.log.split(",").map((one) => one.split(".")[0]));
    for (const log of document.querySelectorAll("#steps .log")) {
      const place = log.id.slice(4);
      if (known.has(place)) continue;
      cursor.dataset.log += (cursor.dataset.log ? "," : "") + place + "." + log.dataset.end;
      log.scrollTop = log.scrollHeight;
    }
    if (parts() === run.parts) return;
    clearTimeout(run.switching);
    run.switching = setTimeout(ask, 100);
  }

  function ask() {
    run.switching = 0;
    if (run.ended || !run.wrapper || !run.socket) return;
    if (run.socket.readyState === WebSocket.CONNECTING) {
      run.switching = setTimeout(ask, 100);
    } else if (run.socket.readyState === WebSocket.OPEN) {
      run.moving = true;
      run.socket.close(1000);
      run.wrapper.reconnect();
    }
  }

  function cursorOf(html) {
    const start = html.lastIndexOf('<span id="cursor"');
    if (start < 0) return null;
    const holder = document.createElement("template");
    holder.innerHTML = html.slice(start);
    return holder.content.firstElementChild.dataset;
  }

  /* Draw only a frame that starts at the page's cursor. */
  function fits(html) {
    const frame = cursorOf(html);
    const here = byId("cursor").dataset;
    if (!frame) return false;
    if ("redraw" in frame) return Number(frame.seq) >= Number(here.seq);
    return frame.from === here.seq && frame.logFrom === here.log;
  }

  function beforeFrame() {
    const active = document.activeElement;
    focused = active && active.closest("#main") ? active.id : "";
    following = [...document.querySelectorAll(".log")].filter(
      (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 24,
    );
  }

  function afterFrame(html) {
    run.heard = Date.now();
    if (focused && document.activeElement === document.body) {
      byId(focused)?.focus({ preventScroll: true });
    }
    for (const [, place] of html.matchAll(/id="head-(\d+)"/g)) renew(byId("body-" + place));
    for (const [, place] of html.matchAll(/id="gate-(\d+)"/g)) renewItems(place);
    following.forEach((log) => (log.scrollTop = log.scrollHeight));
    const rows = byId("events");
    while (rows && rows.children.length > KEEP_ROWS) rows.firstElementChild.remove();
    doubt();
    const cursor = cursorOf(html);
    if (cursor.from !== cursor.seq) {
      clearTimeout(idle);
      idle = setTimeout(() => htmx.trigger(document.body, "live-idle"), 1200);
    }
  }

  /* Show the page as verified only if it has no later event. */
  function doubt() {
    const badge = byId("run-verified");
    if (!badge?.dataset.events) return;
    const behind = Number(byId("cursor").dataset.seq) > Number(badge.dataset.events);
    badge.toggleAttribute("data-stale", behind);
  }

  /* Reload the details of a changed step; closed ones at their next opening. */
  function renew(body) {
    if (!body) return;
    if (body.closest("details").open) htmx.trigger(body, "wanted");
    else body.dataset.stale = "";
  }

  /* Reload the listed page of items a second after a change: at most once a second, and
     always after the last one. */
  const itemTimers = new Map();
  function renewItems(place) {
    if (itemTimers.has(place) || !byId("items-" + place)) return;
    itemTimers.set(
      place,
      setTimeout(() => {
        itemTimers.delete(place);
        const items = byId("items-" + place);
        if (items?.closest("details")?.open) htmx.trigger(items, "wanted");
      }, 1000),
    );
  }

  const listen = (name, handler) => document.addEventListener(name, handler);
  const ofRun = (event) => event.target.id === "run-live";

  listen("htmx:wsOpen", (event) => {
    if (!ofRun(event)) return;
    run.wrapper = event.detail.socketWrapper;
    run.heard = Date.now();
    run.moving = false;
    show();
  });

  listen("htmx:wsBeforeMessage", (event) => {
    if (!ofRun(event)) {
      run.stamp = byId("inbox-stamp")?.dataset.stamp;
      return;
    }
    run.failures = 0;
    run.lost = 0;
    run.heard = Date.now();
    if (fits(event.detail.message)) {
      beforeFrame();
    } else {
      event.preventDefault();
      run.socket.close(1000);
      setTimeout(() => event.detail.socketWrapper.reconnect(), 200);
    }
    show();
  });

  listen("htmx:wsAfterMessage", (event) => {
    if (ofRun(event)) afterFrame(event.detail.message);
    else inboxSeen();
  });

  /* Tell the user at once, and not only when a form is sent. */
  function signedOut() {
    const alert = byId("signed-out")?.content.firstElementChild;
    if (alert && byId("refusal")?.hidden) byId("refusal").replaceWith(alert.cloneNode(true));
  }

  listen("htmx:wsClose", (event) => {
    const code = event.detail.event.code;
    if (code === 4401) signedOut();
    if (!ofRun(event) || event.detail.event.target !== run.socket) return;
    run.ended = ENDINGS[code] || "";
    if (code !== 1000) {
      run.failures += 1;
      run.lost = run.lost || Date.now();
    }
    show();
  });

  /* Poll while no socket stays open; frames and cursor are the same. */
  function poll() {
    const live = byId("run-live");
    if (!live || run.ended || document.hidden || run.failures < FAILURES) return;
    // Rejected while the server is away: the pill says so, and the next poll retries.
    htmx
      .ajax("GET", live.dataset.poll + "?" + position(), { source: live, swap: "none" })
      ?.catch(() => {});
  }

  listen("htmx:beforeSwap", (event) => {
    if (event.detail.requestConfig?.elt.id !== "run-live") return;
    const html = event.detail.xhr.responseText;
    const good = event.detail.xhr.status === 200 && fits(html);
    event.detail.shouldSwap = good;
    if (good) beforeFrame();
  });

  listen("htmx:afterSettle", (event) => {
    if (event.target.closest?.("#steps")) follow();
    if (event.detail.requestConfig?.path.endsWith("/verified")) doubt();
  });

  listen("htmx:afterRequest", (event) => {
    if (event.detail.requestConfig?.elt.id !== "run-live") return;
    const { status, responseText } = event.detail.xhr;
    if (status === 401) {
      run.ended = ENDINGS[4401];
      signedOut();
    }
    if (status === 403 || status === 404) run.ended = ENDINGS[4403];
    run.polled = status === 200 || status === 204;
    if (run.polled) run.heard = Date.now();
    if (status === 200) setTimeout(() => afterFrame(responseText), 0);
    show();
  });

  function show() {
    const pill = byId("live-pill");
    if (!pill) return;
    const open = (run.socket?.readyState === WebSocket.OPEN || run.moving) && !run.lost;
    let state = "connecting";
    let text = "Connecting";
    if (run.ended) {
      state = "signed-out";
      text = run.ended;
    } else if (open) {
      state = "live";
      text = "Live";
    } else if (run.failures >= FAILURES && run.polled) {
      state = "live";
      text = "Live, every 5 s";
    } else if (run.failures >= FAILURES) {
      state = "offline";
      const since = new Date(run.heard || performance.timeOrigin);
      text = "Offline – as of " + since.toTimeString().slice(0, 8);
    } else if (run.lost) {
      state = "reconnecting";
      text = "Reconnecting (" + Math.round((Date.now() - run.lost) / 1000) + " s)";
    }
    if (pill.textContent !== text) pill.textContent = text;
    pill.dataset.live = state;
  }

  function announce() {
    const numbers = byId("run-numbers");
    const region = byId("announce");
    if (!numbers || !region || Date.now() - announced < 5000) return;
    if (region.textContent === numbers.dataset.summary) return;
    region.textContent = numbers.dataset.summary;
    announced = Date.now();
  }

  function reconnect() {
    if (run.ended || !run.wrapper) return;
    run.heard = Date.now();
    run.wrapper.reconnect();
  }

  function watch() {
    const silent = Date.now() - run.heard;
    const open = run.socket?.readyState === WebSocket.OPEN;
    if (open && silent > SILENT) reconnect();
    if (open && document.hidden && hiddenAt && Date.now() - hiddenAt > HIDDEN) {
      run.socket.close(1000);
    }
    show();
    announce();
  }

  function wake() {
    hiddenAt = document.hidden ? Date.now() : 0;
    if (document.hidden || !run.wrapper) return;
    const closed = run.socket.readyState === WebSocket.CLOSED && !run.lost;
    if (closed || Date.now() - run.heard > STALE) reconnect();
  }

  function inboxSeen() {
    badge();
    const now = byId("inbox-stamp")?.dataset.stamp;
    if (run.stamp !== now) htmx.trigger(document.body, "inbox-changed");
  }

  function badge() {
    const count = Number(byId("inbox-count")?.dataset.count || 0);
    const plain = document.title.replace(/^\(\d+\) /, "");
    document.title = count ? "(" + count + ") " + plain : plain;
  }

  listen("visibilitychange", wake);
  addEventListener("online", wake);
  listen("DOMContentLoaded", () => {
    badge();
    show();
    setInterval(watch, 1000);
    setInterval(poll, POLL);
  });
})();
