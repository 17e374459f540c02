// Fetches the page every few seconds while the reader wants it and sees it, and puts in its changing part (#live).
"use strict";
(() => {
  const control = document.getElementById("live-control");
  const box = document.getElementById("live-switch");
  const state = document.getElementById("live-state");
  if (!control || !box || !state || !document.getElementById("live")) return;
  const period = Number(control.dataset.seconds) * 1000;
  const KEY = "gatehouse-live";
  let timer = 0;
  let asking = null;
  let isOver = false; // the page has no switch any more: what it shows does not change

  const isBusy = () => {
    const region = document.getElementById("live");
    const active = document.activeElement;
    const typing = active && region.contains(active) && active.matches("input, select, textarea");
    const chosen = getSelection();
    return typing || (!chosen.isCollapsed && region.contains(chosen.anchorNode));
  };

  const opened = (region) => [...region.querySelectorAll("details[id]")].filter((it) => it.open).map((it) => it.id);
  const scrolled = (region) =>
    [...region.querySelectorAll(".scroll[id]")].map((it) => [it.id, it.scrollLeft, it.scrollTop]);

  function replace(fresh) {
    const old = document.getElementById("live");
    const focus = old.contains(document.activeElement) ? document.activeElement.id : "";
    const open = opened(old);
    const places = scrolled(old);
    old.replaceWith(document.adoptNode(fresh));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    for (const [id, left, top] of places) document.getElementById(id)?.scrollTo(left, top);
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
    document.dispatchEvent(new Event("gatehouse:replaced"));
  }

  async function refresh() {
    if (isBusy()) return "Waiting: you are at work here";
    asking = new AbortController();
    const answer = await fetch(location.href, { redirect: "manual", signal: asking.signal, cache: "no-store" });
    if (answer.type === "opaqueredirect") {
      location.reload(); // the session is over: the way in leads back here
      return "Signed out";
    }
    if (!answer.ok) return `No answer (status ${answer.status}); what you see is old`;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("live");
    if (!fresh || !box.checked) return state.textContent;
    isOver = !page.getElementById("live-control");
    replace(fresh);
    if (isOver) {
      box.disabled = true;
      return "It has ended; nothing more is fetched";
    }
    return `Updated ${new Date().toLocaleTimeString()}`;
  }

  async function turn() {
    timer = 0;
    if (!box.checked || document.hidden) return;
    try {
      state.textContent = await refresh();
    } catch (error) {
      if (error.name !== "AbortError") state.textContent = "No connection; what you see is old";
    } finally {
      schedule();
    }
  }

  function schedule() {
    clearTimeout(timer);
    timer = box.checked && !isOver && !document.hidden ? setTimeout(turn, period) : 0;
  }

  box.addEventListener("change", () => {
    sessionStorage.setItem(KEY, box.checked ? "on" : "off");
    state.textContent = box.checked ? "On" : "";
    if (box.checked) turn();
    else asking?.abort();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && box.checked && !isOver) turn();
    else schedule();
  });
  control.hidden = false;
  box.checked = sessionStorage.getItem(KEY) === "on";
  schedule();
})();
