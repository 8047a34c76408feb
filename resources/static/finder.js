// Finds a word in the logs of a release: every place is marked, Enter goes to the next one.
"use strict";

const MOST = 1000; // places that are marked
const finder = document.getElementById("finder");
const find = document.getElementById("find");
const hits = document.getElementById("hits");
let at = 0;

function places(word) {
  const found = [];
  for (const code of document.querySelectorAll("#logs code")) {
    code.normalize(); // a log that grows is many texts
    for (const node of code.childNodes) {
      const text = node.data.toLowerCase();
      for (let from = text.indexOf(word); from >= 0 && found.length < MOST; from = text.indexOf(word, from + word.length)) {
        const place = document.createRange();
        place.setStart(node, Math.min(from, node.length));
        place.setEnd(node, Math.min(from + word.length, node.length));
        found.push(place);
      }
    }
  }
  return found;
}

function mark(name, ranges) {
  if (CSS.highlights) CSS.highlights.set(name, new Highlight(...ranges));
}

function go(step) {
  const word = find.value.toLowerCase();
  const found = word === "" ? [] : places(word);
  at = found.length ? (at + step + found.length) % found.length : 0;
  mark("found", found);
  mark("here", found.slice(at, at + 1));
  const all = found.length === MOST ? `${MOST} or more` : found.length;
  hits.textContent = word === "" ? "" : found.length ? `${at + 1} of ${all}` : "not in the logs";
  if (!found.length) return;
  const pre = found[at].startContainer.parentElement.closest("pre");
  pre.parentElement.open = true;
  pre.scrollTop += found[at].getBoundingClientRect().top - pre.getBoundingClientRect().top - pre.clientHeight / 2;
  pre.scrollIntoView({ block: "nearest" });
}

find.addEventListener("input", () => { at = 0; go(0); });
find.addEventListener("keydown", (event) => {
  if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
});
finder.hidden = false;
