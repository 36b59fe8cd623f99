// Keeps an open page current. All links and forms work without it, and a reload shows the current state.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live) return;
  document.documentElement.classList.add("scripted");

  const say = (text) => {
    if (live.textContent !== text) live.textContent = text;
  };

  const COPIED = 2000; // how long a button says "Copied", in milliseconds
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button || button.dataset.was) return;
    const text = button.dataset.copy ?? document.getElementById(button.dataset.copyFrom).value;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      window.prompt("Copy this:", text);
      return;
    }
    button.dataset.was = button.textContent;
    button.textContent = "Copied";
    say("Copied.");
    setTimeout(() => {
      button.textContent = button.dataset.was;
      delete button.dataset.was;
      if (live.textContent === "Copied.") say("");
    }, COPIED);
  });

  // Closes the menu on a click elsewhere, or on Escape.
  const account = document.getElementById("account");
  const close = (event) => {
    if (event.key ? event.key === "Escape" : !account.contains(event.target)) account.open = false;
  };
  document.addEventListener("click", close);
  document.addEventListener("keydown", close);

  // Removes the result of the last action from the URL, so that a reload does not show it again.
  const here = new URL(location.href);
  if (here.searchParams.has("done")) {
    here.searchParams.delete("done");
    here.searchParams.delete("who");
    history.replaceState(null, "", here);
  }

  if (!live.dataset.events) return;
  const STEP = 1000; // minimum time between two updates
  const MINUTE = 60000; // after this, times such as "in 3h" are out of date
  const AGAIN = 5000; // until a refused stream is opened again
  let source = null;
  let since = live.dataset.since;
  let planned = 0;
  let looked = 0;
  let looking = false;
  let out = false; // after sign-out, no more requests are sent

  // Replaces `old` with `fresh`. Keyboard focus is kept, and open sections stay open.
  const swap = (old, fresh) => {
    for (const open of old.querySelectorAll("details[open][id]")) {
      fresh.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
    }
    if (old.isEqualNode(fresh)) return;
    const at = old.contains(document.activeElement) ? document.activeElement : null;
    // Selected text, and a button that says "Copied", are left until the next update.
    if (at?.matches("textarea, input") || old.querySelector("[data-was]")) return;
    const place = at?.closest("[id]:not([data-key])")?.id;
    const key = at?.dataset.key;
    old.replaceWith(fresh);
    if (key && place) document.getElementById(place)?.querySelector(`[data-key="${key}"]`)?.focus();
  };

  const show = (page) => {
    for (const id of ["state", "todo", "find", "listing"]) {
      const [old, fresh] = [document.getElementById(id), page.getElementById(id)];
      if (old && fresh) swap(old, fresh);
    }
    document.title = page.title;
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
      // The error handler of the stream reports that the daemon does not respond.
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
    source.onopen = () => {
      live.dataset.follows = "yes";
      say("");
    };
    for (const name of ["person", "forgotten", "breaker", "reset"]) {
      source.addEventListener(name, (event) => {
        since = event.lastEventId || since;
        touch();
      });
    }
    source.onerror = () => {
      delete live.dataset.follows;
      say("The daemon does not answer. This page may be out of date.");
      if (source.readyState !== EventSource.CLOSED) return;
      source = null;
      // The stream was refused. The update shows whether the session has ended.
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
