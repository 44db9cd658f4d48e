// Comfort on the page of one message; everything works without it.
"use strict";
(() => {
  // Folded parts come onto the paper too.
  const opened = [];
  addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("details:not([open]):not(.no-print details)")) {
      one.open = true;
      opened.push(one);
    }
  });
  addEventListener("afterprint", () => {
    for (const one of opened.splice(0)) one.open = false;
  });

  // n and p lead from marked words to the next and back.
  let at = 0;
  const go = (step) => {
    const marks = document.querySelectorAll("mark[id]");
    if (!marks.length) return;
    at = step > 0 ? (at % marks.length) + 1 : at > 1 ? at - 1 : marks.length;
    const mark = document.getElementById("mark-" + at);
    if (!mark) return;
    for (let fold = mark.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    mark.focus();
    mark.scrollIntoView({ block: "center" });
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, textarea, select")) return;
    if (event.key === "n") go(1);
    if (event.key === "p") go(-1);
  });

  // What htmx brought is announced by taking the focus there.
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id !== "content") return;
    event.target.setAttribute("tabindex", "-1");
    event.target.focus({ preventScroll: true });
  });
})();
