// What the pages gain with script: copying, how long ago, menus that close, forms that are not sent twice. All of them
// work without it. Nothing is fetched, nothing is stored.
"use strict";

// Copy: the button is hidden in the page, so that nobody sees one that does nothing.
for (const button of document.querySelectorAll("[data-copy]")) {
  const value = document.getElementById(button.dataset.copy);
  const told = button.parentElement.querySelector("[role=status]");
  button.parentElement.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(value.textContent);
      told.textContent = button.dataset.copied;
    } catch {
      getSelection().selectAllChildren(value);
      told.textContent = button.dataset.failed;
    }
  });
}

// A page that shows a secret is left: should the browser keep the page, it keeps it without the secret.
addEventListener("pagehide", () => {
  for (const value of document.querySelectorAll("[data-secret]")) {
    value.textContent = "";
  }
});

// How long ago, or until then; the day and hour of wherever the reader is.
const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
function tell(time) {
  const at = new Date(time.dateTime);
  const seconds = (at - Date.now()) / 1000;
  const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? ["second", Infinity];
  let ago = time.nextElementSibling;
  // A warning says how long it is already.
  if (ago?.classList.contains("warning-badge")) {
    time.textContent = absolute.format(at);
    return;
  }
  if (!ago?.classList.contains("ago")) {
    ago = document.createElement("span");
    ago.className = "ago";
    time.after(ago);
    time.textContent = absolute.format(at);
  }
  ago.textContent = relative.format(Math.round(seconds / size), unit);
}
const times = [...document.querySelectorAll("time")];
times.forEach(tell);
setInterval(() => times.forEach(tell), 60000);

// A menu closes when another opens, at Escape, and when something else is clicked.
const menus = [...document.querySelectorAll("details.menu")];
function closeMenus(except) {
  for (const menu of menus) {
    if (menu !== except) {
      menu.open = false;
    }
  }
}
addEventListener("click", (event) => closeMenus(event.target.closest("details.menu")));
addEventListener("focusin", (event) => closeMenus(event.target.closest("details.menu")));
addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && menus.find((menu) => menu.open);
  if (open) {
    open.open = false;
    open.querySelector("summary").focus();
  }
});

// Typing a lifetime chooses it.
for (const input of document.querySelectorAll("[data-chooses]")) {
  input.addEventListener("input", () => {
    document.getElementById(input.dataset.chooses).checked = true;
  });
}

// The value of what is made stands in the first answer alone: a second click must not throw that answer away.
for (const form of document.querySelectorAll("form[data-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
    }
    form.dataset.sent = "sent";
  });
}
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
  }
});
