// Shows what has changed since: the page asks for itself (htmx), a release's log arrives as it grows.
"use strict";

const KEPT = 200000; // characters of each stage's log that stay on the page
let shown = null;
let opened = []; // tables that a person has opened

function lost(is) {
  document.getElementById("lost").hidden = !is;
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const page = event.detail.serverResponse;
  const whole = page.includes('id="main"') && (event.detail.xhr.status < 500 || page.includes("hx-get"));
  event.detail.shouldSwap = whole && page !== shown;
  if (whole) shown = page;
  opened = [...document.querySelectorAll("details[data-keep][open]")].map((one) => one.id);
  lost(!whole);
});
document.addEventListener("htmx:afterSwap", () => {
  for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
});
document.addEventListener("htmx:sendError", () => lost(true));
document.addEventListener("htmx:timeout", () => lost(true));

function follow(logs) {
  const stages = new Map();
  const source = new EventSource(logs.dataset.follow);

  function log(stage) {
    if (stages.size === 0) logs.replaceChildren(); // what the server had written comes again, from its beginning
    const details = document.createElement("details");
    const summary = details.appendChild(document.createElement("summary"));
    const pre = details.appendChild(document.createElement("pre"));
    for (const other of stages.values()) other.parentElement.parentElement.open = false;
    details.open = true;
    details.id = `log-${stage}`;
    summary.textContent = stage;
    Object.assign(pre, { className: "log", tabIndex: 0, role: "log", ariaLabel: stage });
    logs.append(details);
    return pre.appendChild(document.createElement("code"));
  }

  source.addEventListener("log", (event) => {
    const { stage, text } = JSON.parse(event.data);
    if (!stages.has(stage)) stages.set(stage, log(stage));
    const code = stages.get(stage);
    const pre = code.parentElement;
    const atEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
    code.append(text);
    if (code.textContent.length > KEPT) code.textContent = "…" + code.textContent.slice(-KEPT / 2);
    if (atEnd) pre.scrollTop = pre.scrollHeight;
  });
  source.addEventListener("end", () => source.close());
}

const logs = document.querySelector("#logs[data-follow]");
if (logs) follow(logs);
