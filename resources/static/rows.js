// Predictions for the rows of a CSV file.
"use strict";

function make(name, text, within) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (within) within.append(element);
  return element;
}

const cell = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

function saved(table) {
  const lines = [...table.rows].map((row) => [...row.cells].map((one) => cell(one.textContent)).join(","));
  return URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
}

const rows = document.getElementById("rows");
const answers = document.getElementById("answers");
rows.hidden = false;

function show(predictions) {
  answers.replaceChildren();
  make("p", `${predictions.length.toLocaleString("en")} predictions`, answers);
  const link = make("a", "Download as CSV", make("p", undefined, answers));
  const scroll = make("div", undefined, answers);
  Object.assign(scroll, { className: "scroll tall", tabIndex: 0, role: "region", ariaLabel: "Answers" });
  const table = make("table", undefined, scroll);
  const head = make("tr", undefined, make("thead", undefined, table));
  for (const title of ["row", "prediction"]) make("th", title, head).scope = "col";
  const body = make("tbody", undefined, table);
  predictions.forEach((prediction, place) => {
    const row = make("tr", undefined, body);
    make("td", String(place + 1), row);
    make("td", typeof prediction === "string" ? prediction : JSON.stringify(prediction), row);
  });
  link.href = saved(table);
  link.download = `${rows.dataset.name}.csv`;
}

function wrong(words) {
  answers.replaceChildren();
  make("p", words, answers).className = "wrong";
}

document.getElementById("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (!file) return;
  answers.textContent = "The model is asked…";
  try {
    const headers = { "Content-Type": "text/csv", Accept: "application/json" };
    const answer = await fetch(rows.dataset.address, { method: "POST", body: file, headers });
    const said = await answer.json();
    if (answer.ok) show(said.predictions);
    else wrong(said.detail || said.title);
  } catch (error) {
    wrong(`Slipway did not answer: ${error.message}. Choose the file again.`);
  }
});
