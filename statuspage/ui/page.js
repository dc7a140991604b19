// Keeps the page current. Without it the page is as it was when it was loaded.
"use strict";
(() => {
  const live = document.getElementById("live");
  const state = document.getElementById("state");
  const stateText = document.getElementById("state-text");
  const announce = document.getElementById("announce");

  const spans = [[48 * 3600, 24 * 3600, "days"], [3600, 3600, "h"], [60, 60, "min"], [1, 1, "s"]];
  const span = (s) => {
    for (const [from, unit, name] of spans) {
      if (s >= from) return Math.floor(s / unit) + " " + name;
    }
    return Math.floor(s * 1000) + " ms";
  };
  // Relative times are written here, or each second would change the page.
  const showTimes = (root) => {
    for (const t of root.querySelectorAll("time[datetime]")) {
      const s = (Date.now() - Date.parse(t.dateTime)) / 1000;
      const text = s < 0 ? "in " + span(-s) : s < 1 ? "just now" : span(s) + " ago";
      if (t.textContent !== text) t.textContent = text;
    }
  };

  // Only sections that differ are replaced, and none that the reader is in.
  const source = new WeakMap();
  const shape = (e) => {
    const copy = e.cloneNode(true);
    for (const t of copy.querySelectorAll("time")) t.textContent = "";
    return copy.outerHTML;
  };
  for (const s of live.children) source.set(s, shape(s));
  const show = (html) => {
    const next = new DOMParser().parseFromString(html, "text/html").body;
    const headline = () => (live.querySelector("#hero") || live).textContent.replace(/\s+/g, " ").trim();
    const before = headline();
    let at = live.firstElementChild;
    for (const fresh of [...next.children]) {
      const text = shape(fresh);
      const old = fresh.id ? document.getElementById(fresh.id) : null;
      if (old && old.parentNode === live) {
        while (at && at !== old && !next.querySelector("#" + CSS.escape(at.id || "-"))) {
          const gone = at;
          at = at.nextElementSibling;
          gone.remove();
        }
        if (source.get(old) !== text && !(old.contains(document.activeElement) && document.activeElement.matches("input, select"))) {
          const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
          source.set(fresh, text);
          if (at === old) at = old.nextElementSibling;
          old.replaceWith(fresh);
          fresh.classList.add("changed");
          if (focused) {
            const again = [...fresh.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused);
            if (again) again.focus({ preventScroll: true });
          }
        } else if (at === old) {
          at = old.nextElementSibling;
        }
      } else {
        source.set(fresh, text);
        live.insertBefore(fresh, at);
      }
    }
    while (at) {
      const gone = at;
      at = at.nextElementSibling;
      gone.remove();
    }
    showTimes(live);
    if (headline() !== before) announce.textContent = headline();
  };

  const is = (name, text) => {
    state.className = "state " + name;
    stateText.textContent = text;
  };
  const connect = () => {
    const events = new EventSource(document.body.dataset.live);
    events.addEventListener("open", () => is("on", "live"));
    events.addEventListener("page", (e) => {
      is("on", "live");
      show(e.data);
    });
    events.addEventListener("error", () => {
      is("lost", "as of " + new Date().toLocaleTimeString());
      if (events.readyState === EventSource.CLOSED) setTimeout(connect, 10000); // refused: there are enough viewers
    });
    addEventListener("pagehide", () => events.close(), { once: true });
  };
  showTimes(document);
  setInterval(() => showTimes(document), 1000);
  connect();
})();
