// A button that copies a call, beside each of them.
"use strict";

async function copy(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent); // only there over HTTPS and on this machine
  } catch {
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

function offer() {
  for (const pre of document.querySelectorAll("pre.copy")) {
    if (pre.parentElement.className === "copyable") continue;
    const box = document.createElement("div");
    const button = document.createElement("button");
    box.className = "copyable";
    Object.assign(button, { type: "button", className: "secondary outline", textContent: "Copy" });
    button.addEventListener("click", () => copy(pre.querySelector("code"), button));
    pre.replaceWith(box);
    box.append(pre, button);
  }
}

offer();
document.addEventListener("htmx:afterSettle", offer);
