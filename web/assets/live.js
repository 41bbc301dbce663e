// What moves on a page: growing logs, processes that change, times that age. Without this script
// every page still works; it only stands still.
"use strict";

// The most lines a terminal keeps, so that a busy log does not fill the browser.
const LINES_MAX = 5000;

function follow(terminal) {
  const source = new EventSource(terminal.dataset.stream);
  source.addEventListener("line", (event) => {
    const atEnd = terminal.scrollHeight - terminal.scrollTop - terminal.clientHeight < 40;
    const line = document.createElement("span");
    line.textContent = event.data + "\n";
    if (event.data.startsWith("----->")) line.className = "step";
    if (event.data.startsWith(" !")) line.className = "wrong";
    terminal.append(line);
    while (terminal.childElementCount > LINES_MAX) terminal.firstChild.remove();
    if (atEnd) terminal.scrollTop = terminal.scrollHeight;
  });
  source.addEventListener("end", () => source.close());
  // After a reconnect the stream begins again from its past.
  source.addEventListener("open", () => terminal.replaceChildren());
}

// The platform says in the app's log when a pod changes: that is the notice to look again.
function refresh(part) {
  let waiting = false;
  const fetchAgain = async () => {
    waiting = false;
    if (part.contains(document.activeElement) && document.activeElement.matches("input, select")) return;
    const response = await fetch(part.dataset.refresh);
    if (response.ok && !response.redirected) {
      part.innerHTML = await response.text();
      tellAges(part);
    }
  };
  const source = new EventSource(part.dataset.notice);
  source.addEventListener("line", (event) => {
    if (event.data.includes("fairway[router]") || waiting) return;
    waiting = true;
    setTimeout(fetchAgain, 150);
  });
}

function age(seconds) {
  const steps = [[60, "second"], [3600, "minute"], [86400, "hour"], [Infinity, "day"]];
  const sizes = { second: 1, minute: 60, hour: 3600, day: 86400 };
  if (seconds < 5) return "just now";
  const unit = steps.find(([limit]) => seconds < limit)[1];
  const count = Math.floor(seconds / sizes[unit]);
  return `${count} ${unit}${count === 1 ? "" : "s"} ago`;
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
document.querySelectorAll("[data-stream]").forEach(follow);
document.querySelectorAll("[data-refresh]").forEach(refresh);
tellAges(document);
setInterval(() => tellAges(document), 30000);
