// What moves on a page: growing logs, parts that change, times that age. Without this script every
// page still works; it only stands still.
"use strict";

// The most lines a terminal keeps, so that a busy log does not fill the browser.
const LINES_MAX = 5000;
// How near to its end a terminal counts as being there, in pixels.
const END_PX = 40;
// One change comes with several notices; the page is asked for once, in milliseconds after the first.
const GATHER_MS = 150;
// The last notice may come before the change it tells of is on record; one more look, in milliseconds.
const SETTLE_MS = 1500;

const LOG_LINE = /^(\d{4}-\d\d-\d\dT[\d:.]+\S*) (app|fairway)\[([^\]]+)\]: (.*)$/s;

function piece(kind, text) {
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  return element;
}

function show(text) {
  const line = piece("line", "");
  const [, at, source, process, rest] = LOG_LINE.exec(text) ?? [];
  if (at) {
    line.classList.add("log");
    const date = new Date(at);
    const day = date.toDateString() === new Date().toDateString() ? "" : date.toLocaleDateString([], { month: "short", day: "numeric" }) + " ";
    const time = piece("at", day + date.toTimeString().slice(0, 8) + " ");
    time.title = at;
    line.append(time, piece(source, process + " "), rest);
    return line;
  }
  if (text.startsWith("----->")) line.classList.add("step");
  if (text.startsWith(" !")) line.classList.add("wrong");
  line.append(text);
  return line;
}

function follow(terminal) {
  let waiting = [];
  const write = () => {
    const atEnd = terminal.scrollHeight - terminal.scrollTop - terminal.clientHeight < END_PX;
    terminal.append(...waiting.map(show));
    waiting = [];
    while (terminal.childElementCount > LINES_MAX) terminal.firstChild.remove();
    if (atEnd) terminal.scrollTop = terminal.scrollHeight;
  };
  const source = new EventSource(terminal.dataset.stream);
  source.addEventListener("line", (event) => {
    if (waiting.length === 0) requestAnimationFrame(write);
    waiting.push(event.data);
    // A tab in the background draws nothing for hours.
    if (waiting.length > LINES_MAX) waiting.shift();
  });
  source.addEventListener("end", () => {
    source.close();
    lookSoon();
  });
  source.addEventListener("open", () => {
    // After a reconnect the stream begins again from its past.
    terminal.replaceChildren();
    terminal.classList.remove("broken");
  });
  source.addEventListener("error", () => terminal.classList.add("broken"));
}

let gathering = 0;
let settling = 0;

function lookSoon() {
  clearTimeout(settling);
  settling = setTimeout(look, SETTLE_MS);
  gathering ||= setTimeout(() => {
    gathering = 0;
    look();
  }, GATHER_MS);
}

// Asks for the page again and takes over the parts that may have changed.
async function look() {
  const response = await fetch(location.href).catch(() => null);
  if (!response?.ok || response.redirected) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const fresh = page.getElementById(part.id);
    if (fresh) replace(part, fresh);
  }
}

// Each live part as the server sent it: what did not change stays, with selections and focus.
const sent = new WeakMap();

function replace(part, fresh) {
  const html = fresh.innerHTML;
  if (sent.get(part) === html) return;
  const focused = part.contains(document.activeElement) ? document.activeElement : null;
  if (focused?.matches("select")) {
    // It may be open, and would close.
    focused.addEventListener("blur", lookSoon, { once: true });
    return;
  }
  for (const field of part.querySelectorAll("input[id], select[id]")) {
    const before = field.matches("select") ? [...field.options].find((option) => option.defaultSelected)?.value : field.defaultValue;
    const after = field.value === before ? null : fresh.querySelector(`[id="${field.id}"]`);
    if (after) after.value = field.value;
  }
  sent.set(part, html);
  tellAges(fresh);
  part.replaceChildren(...fresh.childNodes);
  awaitEnds(part);
  if (focused?.id) document.getElementById(focused.id)?.focus({ preventScroll: true });
}

// The platform says in the app's log when something changes: that is the notice to look again.
// A page in the background listens to nothing, since browsers allow few connections to one host.
function listen(part) {
  let source;
  const open = () => {
    source = new EventSource(part.dataset.notice);
    source.addEventListener("open", lookSoon);
    source.addEventListener("line", (event) => {
      if (!event.data.includes(" fairway[router]: ")) lookSoon();
    });
  };
  document.addEventListener("visibilitychange", () => {
    source?.close();
    if (!document.hidden) open();
  });
  if (!document.hidden) open();
}

// Builds whose end is awaited, by the URL of their output: what runs has ended when that ends.
const awaited = new Set();

function awaitEnds(root) {
  for (const { dataset } of root.querySelectorAll("[data-until]")) {
    if (awaited.has(dataset.until)) continue;
    awaited.add(dataset.until);
    const source = new EventSource(dataset.until);
    source.addEventListener("end", () => {
      source.close();
      awaited.delete(dataset.until);
      lookSoon();
    });
  }
}

// How long ago, or how long to wait.
function age(seconds) {
  if (seconds < -5) return `in ${span(-seconds)}`;
  return seconds < 5 ? "just now" : `${span(seconds)} ago`;
}

function span(seconds) {
  const steps = [[60, "second"], [3600, "minute"], [86400, "hour"], [Infinity, "day"]];
  const sizes = { second: 1, minute: 60, hour: 3600, day: 86400 };
  const unit = steps.find(([limit]) => seconds < limit)[1];
  const count = Math.floor(seconds / sizes[unit]);
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

function tellAges(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    if (!time.title) time.title = time.textContent;
    time.textContent = age((Date.now() - Date.parse(time.dateTime)) / 1000);
  }
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});
for (const button of document.querySelectorAll("[data-back]")) {
  button.hidden = history.length < 2;
  button.addEventListener("click", () => history.back());
}
document.querySelectorAll("[data-live]").forEach((part) => sent.set(part, part.innerHTML));
document.querySelectorAll("[data-stream]").forEach(follow);
document.querySelectorAll("[data-notice]").forEach(listen);
awaitEnds(document);
tellAges(document);
setInterval(() => tellAges(document), 30000);
