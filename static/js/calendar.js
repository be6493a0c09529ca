/* The month calendar: arrow keys move between its days, so that Tab needs one stop for all of them. Without script every
   day is a link in its own right. */
"use strict";

(() => {
  const days = (calendar) => [...calendar.querySelectorAll("a.day")];

  /* One day can be reached with Tab: the chosen one, else the newest. */
  function oneStop() {
    for (const calendar of document.querySelectorAll("[data-calendar]")) {
      const links = days(calendar);
      const stop = links.find((link) => link === document.activeElement) || links.find((link) => link.ariaCurrent) || links.at(-1);
      for (const link of links) link.tabIndex = link === stop ? 0 : -1;
    }
  }

  function move(calendar, from, step) {
    const links = days(calendar);
    const there = links[Math.min(Math.max(links.indexOf(from) + step, 0), links.length - 1)];
    from.tabIndex = -1;
    there.tabIndex = 0;
    there.focus();
  }

  document.addEventListener("keydown", (event) => {
    const day = event.target.closest?.("[data-calendar] a.day");
    if (!day || event.altKey || event.ctrlKey || event.metaKey) return;
    const calendar = day.closest("[data-calendar]");
    const column = day.parentElement.cellIndex;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -7, ArrowDown: 7, Home: -column, End: 6 - column }[event.key];
    const month = { PageUp: "#month-before", PageDown: "#month-after" }[event.key];
    if (step !== undefined) move(calendar, day, step);
    else if (month) calendar.querySelector(`a${month}`)?.click();
    else return;
    event.preventDefault();
  });

  document.addEventListener("htmx:afterSettle", oneStop);
  oneStop();
})();
