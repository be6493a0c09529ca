/* Live pages: cells change in place while the stream of the tenant's changes is open. Without it nothing is missing but that.

   A message names an object. Bars, badges and the title are patched from it at once, at most once a second; everything
   else that may have changed is read again from the page's own address when a chain of work begins or ends, after a
   random wait, so that many browsers do not ask at the same moment. */
"use strict";

(() => {
  const place = document.querySelector("[data-live]");
  if (!place?.dataset.live || !window.EventSource) return;

  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const words = place.dataset;
  /* What is read again: headings, tiles and tabs of every page, rows by their id, and what a template marks. */
  const CELLS = ".heading, .tiles, .tabs, main tr[id], [data-cell]";
  const BATCH = 1000;
  const LOST_AFTER = 1500; /* a stream that is back sooner was never away, for a reader */
  const LONGEST_PAUSE = 30000;

  let source = null;
  let since = Date.parse(document.body.dataset.now) / 1000;
  let pause = 0;
  let spread = 1000; /* told by the server: over how long browsers spread what they read again */
  let over = false; /* the right to watch has ended */
  let retry = 0;
  let lostTimer = 0;

  /* ---- The stream */
  function open() {
    clearTimeout(retry);
    if (over || source || document.hidden) return;
    source = new EventSource(`${words.live}?since=${since || ""}`);
    source.addEventListener("hello", (event) => {
      pause = 0;
      spread = JSON.parse(event.data).spread * 1000;
      found();
    });
    source.addEventListener("change", (event) => take(JSON.parse(event.data)));
    source.addEventListener("resync", () => {
      found();
      readAgain();
    });
    source.addEventListener("paused", lost);
    source.addEventListener("ended", () => {
      stop();
      readAgain(0, true);
    });
    source.addEventListener("error", () => {
      /* The browser's own return asks the same question again; ours says that there was a break. */
      close();
      lost();
      since = 0;
      pause = Math.min(LONGEST_PAUSE, Math.max(1000, 2 * pause));
      retry = setTimeout(open, pause * (0.5 + Math.random()));
    });
  }

  function close() {
    source?.close();
    source = null;
    clearTimeout(retry);
  }

  function stop() {
    over = true;
    close();
  }

  function lost() {
    clearTimeout(lostTimer);
    lostTimer = setTimeout(() => say(words.wordsLost), LOST_AFTER);
  }

  function found() {
    clearTimeout(lostTimer);
    say("");
  }

  function say(text) {
    if (place.textContent === text) return;
    place.replaceChildren();
    if (!text) return;
    const line = document.createElement("p");
    line.textContent = text;
    place.append(line);
  }

  /* A hidden tab needs nothing: it reads its page once when it is looked at again. */
  document.addEventListener("visibilitychange", async () => {
    if (document.hidden) {
      close();
      clearTimeout(lostTimer);
    } else if (!over && !source) {
      await catchUp();
      open();
    }
  });
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) catchUp().then(open);
  });

  /* ---- What changed, gathered and shown at most once a second */
  const waiting = new Map();
  const latest = new Map();
  let flushed = 0;
  let flushTimer = 0;

  function take(change) {
    const key = `${change.kind} ${change.id}`;
    const before = waiting.get(key);
    waiting.set(key, { ...change, new: change.new || Boolean(before?.new) });
    if (flushTimer) return;
    flushTimer = setTimeout(flush, Math.max(0, flushed + BATCH - Date.now()));
  }

  function flush() {
    flushTimer = 0;
    flushed = Date.now();
    const changes = [...waiting.values()];
    waiting.clear();
    let again = false;
    for (const change of changes) {
      if (SHOWN[change.kind]) again = SHOWN[change.kind](change) || again;
      else if (change.kind === "reading") again = showAge(change) || again;
      else again = true;
    }
    if (again) readAgain();
  }

  /* Moves the bars and badges that bear this name. Returns the bars, or nothing where the page knows better already. */
  function showMarked(name, change) {
    const bars = all(`[data-live-bar="${CSS.escape(name)}"]`);
    const badges = all(`[data-live-badge="${CSS.escape(name)}"]`);
    const marked = [...bars, ...badges];
    if (marked.some((one) => Number(one.dataset.news) > change.news)) return null;
    for (const one of marked) one.dataset.news = change.news;
    latest.set(name, { change, at: performance.now() });
    for (const bar of bars) {
      setText(bar.querySelector("[data-bar-stage]"), change.stage);
      setText(bar.querySelector("[data-bar-percent]"), change.percentWords);
      if ("left" in change) setText(bar.querySelector("[data-bar-left]"), change.left);
      const progress = bar.querySelector("progress");
      if (change.percent !== null) progress.value = Math.max(progress.position < 0 ? 0 : progress.value, Math.floor(change.percent));
    }
    for (const place of badges) {
      setBadge(place.querySelector(".badge"), change.badge);
      setText(place.querySelector("[data-live-percent]"), change.percentWords);
    }
    return bars;
  }

  /* What shows a change returns whether there is more to it than the message says. */
  const SHOWN = { operation: showOperation, task: showByItself, run: showByItself };

  /* A task that no operation made, or several of them that are one backup or restore. Where one begins, waits no more or
     is over, rows, counts and headings say so too. */
  function showByItself(change) {
    return Boolean(showMarked(`${change.kind}-${change.id}`, change)) && (change.new || !change.active);
  }

  function showOperation(change) {
    const bars = showMarked(change.id, change);
    if (!bars) return false;
    const own = document.querySelector(`[data-live-own="${CSS.escape(change.id)}"]`);
    let further = false; /* on to the next step, whose time only the page itself can tell */
    if (own) {
      const moved = setText(own.querySelector("[data-stage]"), change.stage); /* role=status: spoken once a stage */
      further = moved && Boolean(own.querySelector(".steps"));
      setTitle(change);
    }
    return further || change.new || !change.active || (!bars.length && Boolean(document.getElementById(`vm-${change.vm}`)));
  }

  function setText(element, text) {
    if (!element || element.textContent === text) return false;
    element.textContent = text;
    return true;
  }

  function setBadge(badge, { colour, icon, word }) {
    badge.className = `badge badge-${colour}`;
    const use = badge.querySelector("use");
    use?.setAttribute("href", `${use.getAttribute("href").split("#")[0]}#${icon}`);
    const text = badge.lastChild;
    if (text?.nodeType === Node.TEXT_NODE && text.data.trim() !== word) text.data = word;
  }

  /* "(63 %) Backup of web-01 ..", then "Done: Backup of web-01 .." until somebody looks. */
  const title = document.title.replace(/^\(\d+\s%\)\s/u, "");
  let ran = /^\(\d|/u.test(document.title) && Boolean(document.querySelector("[data-live-own] progress"));

  function setTitle(change) {
    if (change.active) {
      ran = true;
      document.title = change.percentWords ? `(${change.percentWords}) ${title}` : title;
    } else if (ran) {
      ran = false;
      document.title = `${change.badge.word}: ${title}`;
      const looked = () => {
        document.title = title;
        for (const name of ["focus", "pointerdown", "keydown"]) window.removeEventListener(name, looked);
      };
      for (const name of ["focus", "pointerdown", "keydown"]) window.addEventListener(name, looked);
    }
  }

  /* Ages start anew with each reading of the backup system; one that looks old, or a bar above the page, is read again. */
  function showAge(reading) {
    for (const age of all(`.age[data-reading="${CSS.escape(reading.id)}"]`)) {
      const time = age.querySelector("time");
      if (!time || age.classList.contains("age-stale")) return true;
      time.dateTime = new Date(reading.at * 1000).toISOString();
    }
    return Boolean(document.querySelector(".global-bar[data-passing]"));
  }

  setInterval(() => {
    if (document.hidden || over) return;
    for (const age of all(".age[data-stale-after]:not(.age-stale)")) {
      const time = age.querySelector("time");
      const old = time && (Date.now() - Date.parse(time.dateTime)) / 1000 > Number(age.dataset.staleAfter) + 5;
      if (old) readAgain(20000);
    }
  }, 5000);

  /* ---- Reading the page again */
  let planned = 0;

  function readAgain(longest = spread, last = false) {
    if (planned && !last) return;
    clearTimeout(planned);
    planned = setTimeout(() => {
      planned = 0;
      catchUp(last);
    }, Math.random() * longest);
  }

  async function catchUp(last = false) {
    const began = performance.now();
    let answer;
    let page;
    try {
      answer = await fetch(location.href, { headers: { "X-Requested-With": "live" } });
      page = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      return; /* offline: the stream says so, and asks for this again when it is back */
    }
    const elsewhere = new URL(answer.url).pathname !== location.pathname;
    if (elsewhere || answer.status === 404 || (last && !answer.ok)) {
      stop();
      say(words.wordsEnded);
      return;
    }
    if (!answer.ok) return;
    since = Date.parse(page.body.dataset.now) / 1000 || 0;
    const fresh = keyed(page);
    for (const [key, cell] of keyed(document)) if (fresh.has(key)) morph(cell, document.importNode(fresh.get(key), true));
    /* What was told meanwhile may be newer than the page that was on its way. */
    for (const { change, at } of [...latest.values()]) if (at >= began) SHOWN[change.kind](change);
    offerNew(page);
    document.dispatchEvent(new CustomEvent("live:settled"));
    if (last) {
      over = false; /* the page itself is still allowed: go on watching */
      since = 0;
      retry = setTimeout(open, 5000);
    }
  }

  /* Cells by id, by name, or by what kind they are and in which order. Those inside another one come with it. */
  function keyed(root) {
    const found = new Map();
    const counts = {};
    for (const cell of all(CELLS, root)) {
      if (cell.parentElement.closest(CELLS)) continue;
      const kind = cell.dataset.cell || cell.classList[0] || "";
      const key = cell.id || `${kind} ${(counts[kind] = (counts[kind] || 0) + 1)}`;
      found.set(key, cell);
    }
    return found;
  }

  /* Make one element like another, leaving alone what is alike: focus, selections and open parts stay. */
  const OWN = new Set(["hidden", "open", "aria-busy", "aria-disabled"]);

  function morph(old, fresh) {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.data = fresh.data;
      return;
    }
    if (old.matches("input, select, textarea, [data-keep]")) return;
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !OWN.has(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (!OWN.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
    const [before, after] = [[...old.childNodes], [...fresh.childNodes]];
    after.forEach((child, index) => (index < before.length ? morph(before[index], child) : old.append(child)));
    for (const child of before.slice(after.length)) child.remove();
  }

  /* New rows are offered, never pushed in: what one reads or is about to press stays where it is. */
  const rowName = (row) => row.id || row.querySelector("time")?.dateTime || row.textContent;

  function offerNew(page) {
    const lists = all("main .list", page);
    all("main .list").forEach((list, index) => {
      const known = new Set(all("tbody tr", list).map(rowName));
      const count = lists[index] ? all("tbody tr", lists[index]).filter((row) => !known.has(rowName(row))).length : 0;
      list.querySelector(":scope > .live-new")?.remove();
      if (!count) return;
      const offer = document.createElement("p");
      offer.className = "live-new";
      offer.setAttribute("role", "status");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "button-link";
      button.textContent = words.wordsShow;
      button.addEventListener("click", () => showNew(list, document.importNode(lists[index], true), known));
      offer.append(`${words.wordsNew.replace("{n}", count)} `, button);
      list.prepend(offer);
    });
  }

  function showNew(list, fresh, known) {
    const ticked = new Set(all("input:checked", list).map((box) => box.value));
    for (const box of all(".pick input[name]", fresh)) box.checked = ticked.has(box.value);
    list.replaceWith(fresh);
    const row = all("tbody tr", fresh).find((one) => !known.has(rowName(one)));
    row?.querySelector("a, button")?.focus();
    document.dispatchEvent(new CustomEvent("live:settled"));
  }

  open();
})();
