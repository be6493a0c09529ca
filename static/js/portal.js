/* What pages do a little better with script. Everything here also works without it: forms post, links lead on. */
"use strict";

(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const words = document.body.dataset;

  /* Time on the page runs from the server's clock, so a wrong clock on this machine changes no age. */
  const servedAt = Date.parse(words.now) || Date.now();
  const now = () => servedAt + performance.now();

  function relativeWords(seconds) {
    if (seconds < 1) return words.wordsNow;
    if (seconds < 60) return words.wordsSeconds.replace("{n}", Math.floor(seconds));
    if (seconds < 3600) return words.wordsMinutes.replace("{n}", Math.floor(seconds / 60));
    return words.wordsHours.replace("{n}", Math.floor(seconds / 3600));
  }

  function refreshTimes() {
    for (const time of all("time[data-relative]")) {
      const seconds = (now() - Date.parse(time.dateTime)) / 1000;
      if (seconds >= -1 && seconds < 172800) {
        const text = relativeWords(seconds);
        if (time.textContent !== text) time.textContent = text;
      }
    }
  }

  /* Theme: changed at once, kept in the account by the same POST that works without script. */
  function shownTheme() {
    const chosen = document.documentElement.dataset.theme;
    return chosen || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  }

  function nameThemeButtons() {
    const other = shownTheme() === "dark" ? "light" : "dark";
    for (const button of all("[data-theme-form] button")) {
      button.value = other;
      button.setAttribute("aria-label", button.dataset[other === "dark" ? "wordDark" : "wordLight"]);
    }
  }

  function changeTheme(form, button) {
    const body = new FormData(form);
    body.set("theme", button.value);
    document.documentElement.dataset.theme = button.value;
    nameThemeButtons();
    fetch(form.action, { method: "POST", body, redirect: "manual" }).catch(() => {
      /* Offline: the page keeps the theme, the account is told by the next press. */
    });
  }

  /* Selection: the bar itself is shown by CSS; here it counts, names and announces. */
  function countSelection(form) {
    const boxes = all("tbody .pick input:not(:disabled)", form);
    const chosen = boxes.filter((box) => box.checked);
    const every = form.querySelector("[data-pick-all]");
    if (every) {
      every.checked = chosen.length > 0 && chosen.length === boxes.length;
      every.indeterminate = chosen.length > 0 && chosen.length < boxes.length;
    }
    const fill = (selector, text) => {
      for (const element of all(selector, form)) element.textContent = text;
    };
    const counted = (element, name) =>
      (chosen.length === 1 ? element.dataset[`${name}One`] : element.dataset[`${name}Many`]).replace("{n}", chosen.length);
    for (const element of all("[data-count-one]", form)) element.textContent = chosen.length ? counted(element, "count") : "";
    for (const element of all("[data-goes-along]", form)) {
      const tenant = form.elements.tenant?.selectedOptions[0];
      const backups = chosen.reduce((sum, box) => sum + Number(box.dataset.backups), 0);
      const { nobody, one, many } = element.dataset;
      const fill = { n: chosen.length, backups, tenant: tenant?.text };
      element.textContent =
        chosen.length && tenant?.value ? (chosen.length === 1 ? one : many).replace(/\{(n|backups|tenant)\}/g, (_, name) => fill[name]) : nobody;
    }
    fill("[data-selected-names]", chosen.map((box) => box.dataset.name).join(", "));
  }

  /* Dialogs: a link marked data-dialog fetches its page and shows that page's marked part. */
  function openDialog(body, wide, opener) {
    const dialog = document.createElement("dialog");
    dialog.className = wide ? "dialog dialog-wide" : "dialog";
    const close = document.createElement("button");
    close.type = "button";
    close.className = "button button-quiet dialog-close";
    close.textContent = words.wordsClose;
    close.dataset.close = "";
    dialog.append(close, body);
    const heading = body.querySelector("h1");
    if (heading) {
      heading.id = "dialog-heading";
      dialog.setAttribute("aria-labelledby", heading.id);
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      opener?.focus();
    });
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector("[autofocus], h1")?.focus();
    revealScripted(dialog);
  }

  async function followInDialog(link) {
    try {
      const answer = await fetch(link.href, { headers: { "X-Requested-With": "dialog" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const body = answer.ok && page.querySelector("[data-dialog-body]");
      if (!body) throw new Error("no part for a dialog");
      openDialog(document.adoptNode(body), link.dataset.dialog === "wide", link);
    } catch {
      location.assign(link.href); /* the page says what is the matter */
    }
  }

  /* A line on top and aria-busy, once something takes longer than 300 ms. */
  const line = document.querySelector("[data-busy-line]");
  let running = 0;
  let timer = 0;
  function busy(step) {
    running = Math.max(0, running + step);
    clearTimeout(timer);
    if (running) timer = setTimeout(() => line?.classList.add("busy-line-on"), 300);
    else line?.classList.remove("busy-line-on");
  }

  /* Toasts: 8 s, held while pointed at or focused. */
  function asToast(message) {
    const place = document.querySelector("[data-toasts]");
    place.append(message);
    let left = setTimeout(() => message.remove(), 8000);
    const hold = () => clearTimeout(left);
    const release = () => {
      hold();
      left = setTimeout(() => message.remove(), 8000);
    };
    message.addEventListener("mouseenter", hold);
    message.addEventListener("focusin", hold);
    message.addEventListener("mouseleave", release);
    message.addEventListener("focusout", release);
  }

  function copy(button) {
    navigator.clipboard.writeText(button.dataset.copy).then(() => {
      const label = button.getAttribute("aria-label");
      button.setAttribute("aria-label", words.wordsCopied);
      button.title = words.wordsCopied;
      setTimeout(() => {
        button.setAttribute("aria-label", label);
        button.removeAttribute("title");
      }, 4000);
    });
  }

  function showPassword(button) {
    const input = document.getElementById(button.dataset.showPassword);
    const shown = input.type === "text";
    input.type = shown ? "password" : "text";
    button.setAttribute("aria-pressed", String(!shown));
  }

  /* Controls that only script can serve are hidden in the HTML. */
  function revealScripted(root) {
    for (const element of all("[data-show-password], [data-dismiss], [data-pick-all-label], [data-scripted]", root)) element.hidden = false;
    if (navigator.clipboard) for (const element of all("[data-copy]", root)) element.hidden = false;
  }

  document.addEventListener("click", (event) => {
    const at = (selector) => event.target.closest(selector);
    for (const open of all("details[data-popover][open]")) if (!open.contains(event.target)) open.open = false;
    const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0;
    if (at("dialog [data-close]")) {
      event.preventDefault();
      at("dialog").close();
    } else if (at("a[data-dialog]") && plain && (at("a[data-dialog]").dataset.dialog !== "wide" || innerWidth > 720)) {
      event.preventDefault();
      followInDialog(at("a[data-dialog]"));
    } else if (at("[data-dismiss]")) at(".message").remove();
    else if (at("[data-copy]")) copy(at("[data-copy]"));
    else if (at("[data-show-password]")) showPassword(at("[data-show-password]"));
    else if (at("[data-clear-selection]")) {
      event.preventDefault();
      const form = at("form");
      for (const box of all(".pick input", form)) box.checked = false;
      countSelection(form);
      (form.querySelector("[data-pick-all]") || form.querySelector("tbody .pick input"))?.focus();
    }
  });

  document.addEventListener("change", (event) => {
    const form = event.target.closest(".selectable");
    if (form) {
      if (event.target.matches("[data-pick-all]")) {
        for (const box of all("tbody .pick input:not(:disabled)", form)) box.checked = event.target.checked;
      }
      countSelection(form);
    }
    /* Without script [Show the plan] does this. */
    if (event.target.closest("[data-replan]")) event.target.form.querySelector("[data-replan-button]")?.click();
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.matches("[data-theme-form]")) {
      event.preventDefault();
      changeTheme(form, event.submitter || form.querySelector("button"));
      return;
    }
    const button = event.submitter;
    if (form.method !== "post" || !button) return;
    if (button.getAttribute("aria-disabled") === "true") {
      event.preventDefault(); /* pressed twice: sent once */
      return;
    }
    button.setAttribute("aria-disabled", "true");
    if (button.classList.contains("button") || button.hasAttribute("data-send")) {
      button.dataset.word = button.innerHTML;
      button.textContent = words.wordsSending;
    }
  });

  /* Back from the next page: the button can be pressed again. */
  window.addEventListener("pageshow", () => {
    for (const button of all("button[aria-disabled='true'][data-word]")) {
      button.innerHTML = button.dataset.word;
      button.removeAttribute("aria-disabled");
    }
    for (const form of all(".selectable")) countSelection(form);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const open of all("details[data-popover][open]")) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });

  /* A passkey that was not given: say so beside its button. */
  document.addEventListener("allauth.error", (event) => {
    const place = document.querySelector("[data-passkey-error]");
    if (!place) return;
    event.preventDefault();
    place.hidden = false;
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    busy(1);
    event.detail.target?.setAttribute("aria-busy", "true");
  });
  document.addEventListener("htmx:afterRequest", (event) => {
    busy(-1);
    event.detail.target?.removeAttribute("aria-busy");
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target, pathInfo } = event.detail;
    const usable = xhr.status < 400 && (!target.id || xhr.responseText.includes(`id="${target.id}"`));
    if (!usable) {
      /* Signed out, gone or broken: the page itself says so. */
      event.preventDefault();
      location.assign(pathInfo.finalRequestPath);
    }
  });
  for (const settled of ["htmx:afterSettle", "live:settled"]) {
    document.addEventListener(settled, () => {
      for (const form of all(".selectable")) countSelection(form);
      revealScripted(document);
      refreshTimes();
    });
  }

  /* On a phone the tabs scroll in their box: the one that is open begins in sight. */
  for (const tab of all(".tabs [aria-current]")) {
    const box = tab.closest(".tabs");
    box.scrollLeft = tab.getBoundingClientRect().left - box.getBoundingClientRect().left - 16;
  }

  revealScripted(document);
  nameThemeButtons();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameThemeButtons);
  for (const message of all("[data-toast]")) asToast(message);
  document.querySelector("[data-focus]")?.focus();
  setInterval(refreshTimes, 1000);
})();
