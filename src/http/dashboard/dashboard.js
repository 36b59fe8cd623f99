// Keeps the page true while a person looks at it. Without it every link and form works, and a reload shows the news.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live) return;
  document.documentElement.classList.add("scripted");

  const say = (text) => {
    if (live.textContent !== text) live.textContent = text;
  };

  const COPIED = 2000; // so long a button says that it has copied
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

  // A menu that a click elsewhere, or Escape, closes.
  const account = document.getElementById("account");
  const close = (event) => {
    if (event.key ? event.key === "Escape" : !account.contains(event.target)) account.open = false;
  };
  document.addEventListener("click", close);
  document.addEventListener("keydown", close);

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

  // Puts `fresh` into the place of `old`; a person at the keyboard stays where they are, and what is open stays open.
  const swap = (old, fresh) => {
    for (const open of old.querySelectorAll("details[open][id]")) {
      fresh.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
    }
    if (old.isEqualNode(fresh)) return;
    const at = old.contains(document.activeElement) ? document.activeElement : null;
    // A text that is being marked, and a button that says it has copied, are left until the next look.
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
