// Predictions for the rows of a CSV file.
"use strict";

function make(name, text, within) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (within) within.append(element);
  return element;
}

const LONG = 60; // characters of an answer that is no number; the CSV has it whole

// The rows of a CSV; null where a quote is left open.
function parsed(text) {
  const lines = [];
  let line = [];
  const part = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/y;
  while (part.lastIndex < text.length) {
    const found = part.exec(text);
    if (!found) return null;
    line.push(found[1] === undefined ? found[2] : found[1].replaceAll('""', '"'));
    if (found[3] === "," && part.lastIndex === text.length) line.push("");
    if (found[3] !== "," || part.lastIndex === text.length) {
      if (line.length > 1 || found[0].trim() !== "") lines.push(line);
      line = [];
    }
  }
  return lines;
}

const whole = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function brief(value) {
  if (typeof value === "number") return value.toLocaleString("en", digits(value));
  const text = whole(value);
  if (text.length <= LONG) return text;
  return `${text.slice(0, LONG)}…${Array.isArray(value) ? ` (${value.length.toLocaleString("en")} in all)` : ""}`;
}

// 1984 may be a year: thousands are set apart from 10,000 on.
const digits = (value) => ({ useGrouping: "min2", ...(Number.isInteger(value) ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 6 }) });

const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function saved(lines) {
  const text = lines.map((line) => line.map(cell).join(",")).join("\n");
  return URL.createObjectURL(new Blob([text + "\n"], { type: "text/csv" }));
}

const rows = document.getElementById("rows");
const answers = document.getElementById("answers");
rows.hidden = false;

// What was asked stands before each answer, where the file is read here as it was there.
function show(predictions, asked) {
  const known = asked && asked.length === predictions.length + 1 ? asked : [[], ...predictions.map(() => [])];
  answers.replaceChildren();
  make("p", predictions.length === 1 ? "1 prediction" : `${predictions.length.toLocaleString("en")} predictions`, answers);
  const score = window.judged ? judged(predictions, asked) : null;
  if (score) make("p", score, answers).className = "score";
  const link = make("a", "Download as CSV", make("p", undefined, answers));
  const scroll = make("div", undefined, answers);
  const tall = predictions.length > 31 ? "scroll tall" : "scroll";
  Object.assign(scroll, { className: tall, tabIndex: 0, role: "region", ariaLabel: "Answers" });
  const table = make("table", undefined, scroll);
  const head = make("tr", undefined, make("thead", undefined, table));
  const titles = ["row", ...known[0], "prediction"];
  for (const title of titles) make("th", title, head).scope = "col";
  const right = predictions.every((prediction) => typeof prediction === "number");
  if (right) table.className = "series"; // its last column is to the right
  const body = make("tbody", undefined, table);
  predictions.forEach((prediction, place) => {
    const row = make("tr", undefined, body);
    for (const text of [String(place + 1), ...known[place + 1]]) make("td", text, row);
    const answer = make("td", brief(prediction), row);
    if (typeof prediction === "number") answer.title = String(prediction);
  });
  const lines = predictions.map((prediction, place) => [String(place + 1), ...known[place + 1], whole(prediction)]);
  link.href = saved([titles, ...lines]);
  link.download = `${rows.dataset.name}.csv`;
}

function wrong(words) {
  answers.replaceChildren();
  make("p", words, answers).className = "wrong";
}

const input = document.getElementById("file");
const knownAlone = document.getElementById("known");

async function ask() {
  const [file] = input.files;
  if (!file) return;
  answers.textContent = "The model is asked…";
  try {
    const headers = { "Content-Type": "text/csv", Accept: "application/json" };
    const address = rows.dataset.address + (knownAlone && knownAlone.checked ? "?columns=known" : "");
    const answer = await fetch(address, { method: "POST", body: file, headers });
    const said = await answer.json();
    if (answer.ok) show(said.predictions, parsed((await file.text()).replace(/^\uFEFF/, "")));
    else wrong(said.detail || said.title);
  } catch (error) {
    wrong(`Slipway did not answer: ${error.message}. Choose the file again.`);
  }
}

input.addEventListener("change", ask);
if (knownAlone) knownAlone.addEventListener("change", ask);
