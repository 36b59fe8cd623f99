// Keeps the page true while somebody looks at it. Without it every link and form works, and a reload shows the news.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live) return;
  document.documentElement.classList.add("scripted");

  const say = (text) => {
    if (live.textContent !== text) live.textContent = text;
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      say("The link to consent again is copied.");
    } catch {
      window.prompt("Copy this link:", button.dataset.copy);
    }
  });

  // What was just done is said once, not again with every reload.
  const here = new URL(location.href);
  if (here.searchParams.has("done")) {
    here.searchParams.delete("done");
    here.searchParams.delete("who");
    history.replaceState(null, "", here);
  }

  if (!live.dataset.events) return;
  const STEP = 1000; // between two looks, however much happens
  const MINUTE = 60000; // times like "in 3h" grow old
  const AGAIN = 5000; // after a stream that was refused
  let source = null;
  let since = live.dataset.since;
  let planned = 0;
  let looked = 0;
  let looking = false;
  let out = false; // once signed out, nothing more is asked

  // Puts `fresh` into the place of `old`; whoever is at the keyboard stays where they are.
  const swap = (old, fresh) => {
    if (!old || !fresh || old.isEqualNode(fresh)) return;
    const at = old.contains(document.activeElement) ? document.activeElement : null;
    const row = at?.closest("[id]:not([data-key])")?.id;
    const key = at?.dataset.key;
    old.replaceWith(fresh);
    if (fresh.matches("tr")) fresh.classList.add("changed");
    if (key && row) document.getElementById(row)?.querySelector(`[data-key="${key}"]`)?.focus();
  };

  const ids = (rows) => [...rows.querySelectorAll("[data-person]")].map((row) => row.id).join(" ");

  const show = (page) => {
    const [old, fresh] = [document.getElementById("rows"), page.getElementById("rows")];
    if (old && fresh && old.matches("table") && fresh.matches("table") && ids(old) === ids(fresh)) {
      for (const row of fresh.querySelectorAll("[data-person]")) swap(document.getElementById(row.id), row);
    } else {
      swap(old, fresh);
    }
    for (const tile of page.querySelectorAll(".tile")) swap(document.getElementById(tile.id), tile);
    for (const id of ["breaker", "history", "pages"]) swap(document.getElementById(id), page.getElementById(id));
  };

  const signedOut = () => {
    out = true;
    source?.close();
    source = null;
    const link = document.createElement("a");
    link.href = live.dataset.signIn;
    link.id = "again";
    link.textContent = "Sign in";
    live.replaceChildren("You are signed out. ", link);
  };

  const look = async () => {
    planned = 0;
    if (out || looking || document.hidden) return;
    looking = true;
    try {
      const answer = await fetch(location.href, { redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect") signedOut();
      if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The stream's own error says that the daemon is away.
    } finally {
      looking = false;
      looked = Date.now();
    }
  };

  const touch = () => {
    if (!planned && !out) planned = setTimeout(look, Math.max(0, looked + STEP - Date.now()));
  };

  const listen = () => {
    if (out || source || document.hidden) return;
    const query = since ? `?since=${encodeURIComponent(since)}` : "";
    source = new EventSource(live.dataset.events + query);
    source.onopen = () => say("Live: the page follows what happens.");
    for (const name of ["person", "forgotten", "breaker", "reset"]) {
      source.addEventListener(name, (event) => {
        since = event.lastEventId || since;
        touch();
      });
    }
    source.onerror = () => {
      say("The daemon is not heard; trying again.");
      if (source.readyState !== EventSource.CLOSED) return;
      source = null;
      // It was refused: a look tells whether that is because one is signed out.
      touch();
      setTimeout(listen, AGAIN);
    };
  };

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else {
      listen();
      touch();
    }
  });
  setInterval(touch, MINUTE);
  listen();
})();
