// The queue with a keyboard, marks that count themselves, and a list that stays up to date. The page works without it.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const table = byId("held");
  const rows = () => (table ? [...table.tBodies[0].rows] : []);
  const rowOf = (node) => (node instanceof Element && table ? node.closest("#held tbody tr") : null);

  // --- where one is ---
  let current = null;
  const stand = (row) => {
    if (current) current.classList.remove("current");
    current = row;
    if (current) current.classList.add("current");
  };
  const move = (step) => {
    const all = rows();
    if (!all.length) return;
    const at = current ? all.indexOf(current) : -1;
    const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + step));
    const link = all[next].querySelector("a.item");
    if (link) link.focus({ preventScroll: true });
    all[next].scrollIntoView({ block: "nearest" });
  };
  if (table) table.addEventListener("focusin", (event) => { const row = rowOf(event.target); if (row) stand(row); });

  // --- marks ---
  const bar = byId("marks"), said = byId("marked"), every = byId("mark-all"), action = byId("action");
  const boxes = () => rows().map((row) => row.querySelector("input[name=item]")).filter((box) => box && !box.disabled);
  const count = () => {
    if (!bar) return;
    const all = boxes(), marked = all.filter((box) => box.checked).length;
    bar.hidden = marked === 0;
    said.textContent = marked === 1 ? "1 message marked" : marked + " messages marked";
    if (every) {
      every.checked = marked > 0 && marked === all.length;
      every.indeterminate = marked > 0 && marked < all.length;
    }
  };
  const asked = () => {
    if (!action) return;
    for (const field of bar.querySelectorAll("[data-for]")) {
      const wanted = field.dataset.for === action.value;
      field.hidden = !wanted;
      for (const input of field.querySelectorAll("input, select")) { input.disabled = !wanted; input.required = wanted; }
    }
  };
  if (bar) {
    every.hidden = false;
    every.addEventListener("change", () => { for (const box of boxes()) box.checked = every.checked; count(); });
    table.addEventListener("change", count);
    action.addEventListener("change", asked);
    bar.open = !matchMedia("(max-width: 52rem)").matches; // it would cover half of a phone
    asked();
    count();
  }

  // --- keys; somebody who needs them otherwise (speech input) can turn them off ---
  const help = byId("keys"), on = byId("keys-on");
  const KEPT = "gateway-keys";
  let keys = true;
  try { keys = localStorage.getItem(KEPT) !== "off"; } catch { /* a browser that keeps nothing */ }
  on.checked = keys;
  on.addEventListener("change", () => {
    keys = on.checked;
    try { localStorage.setItem(KEPT, keys ? "on" : "off"); } catch { /* as above */ }
  });
  byId("keys-open").hidden = false;
  byId("keys-open").addEventListener("click", () => help.showModal());
  byId("keys-close").addEventListener("click", () => help.close());
  const writes = (node) => node instanceof Element && node.matches("textarea, select, input:not([type=checkbox])");

  document.addEventListener("keydown", (event) => {
    const row = rowOf(event.target);
    if (event.key === "Enter" && row && event.target.matches("input[name=item]")) {
      event.preventDefault(); // else the browser sends the form of the marks
      row.querySelector("a.item").click();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || help.open || writes(event.target)) return;
    if ((event.key === "ArrowDown" || event.key === "ArrowUp") && row) {
      event.preventDefault();
      move(event.key === "ArrowDown" ? 1 : -1);
      return;
    }
    if (!keys) return;
    const acts = {
      j: () => move(1),
      k: () => move(-1),
      x: () => { const box = current && current.querySelector("input[name=item]"); if (box && !box.disabled) { box.checked = !box.checked; count(); } },
      "/": () => { byId("q").focus(); byId("q").select(); },
      r: () => location.reload(),
      "?": () => help.showModal(),
    };
    if (Object.hasOwn(acts, event.key)) { event.preventDefault(); acts[event.key](); }
  });

  // --- up to date: asked every five seconds while somebody can see the page ---
  const EVERY = 5000;
  const look = () => { if (!document.hidden && byId("live") && window.htmx) window.htmx.trigger("#live", "look"); };
  if (byId("live")) {
    setInterval(look, EVERY);
    document.addEventListener("visibilitychange", look);
    const silent = () => { byId("news").textContent = "This list is not kept up to date now."; };
    document.body.addEventListener("htmx:responseError", silent);
    document.body.addEventListener("htmx:sendError", silent);
    document.body.addEventListener("htmx:load", () => {
      // What is decided can no longer be marked.
      for (const cell of document.querySelectorAll("#held td[data-closed]")) {
        const box = cell.closest("tr").querySelector("input[name=item]");
        if (!box || box.disabled) continue;
        if (box === document.activeElement) cell.closest("tr").querySelector("a.item").focus({ preventScroll: true });
        box.checked = false;
        box.disabled = true;
      }
      count();
    });
  }
})();
