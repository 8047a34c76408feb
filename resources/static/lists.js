// A list is typed row by row. What is sent is the JSON text beside it, which is the whole field without a script.
"use strict";

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// The rows that the text holds; null where it holds anything else, which then stays a text.
function typed(text, { columns, most }) {
  let rows;
  try {
    rows = text.trim() === "" ? [] : JSON.parse(text);
  } catch {
    return null;
  }
  const plain = (value) => ["string", "number", "boolean"].includes(typeof value);
  const names = columns.map((column) => column.name);
  const fits = (row) =>
    names[0] === null
      ? plain(row)
      : isObject(row) && Object.entries(row).every(([name, value]) => names.includes(name) && plain(value));
  return Array.isArray(rows) && rows.length <= most && rows.every(fits) ? rows : null;
}

function select(choices, value) {
  const input = document.createElement("select");
  for (const [word, choice] of choices) {
    input.add(new Option(word, JSON.stringify(choice), false, choice === value));
  }
  return input;
}

function control(column, value) {
  const { kind, choices, minimum, maximum } = column;
  const optional = column.required ? [] : [["–", null]];
  if (kind === "boolean") return select([...optional, ["yes", true], ["no", false]], value);
  if (kind === "choice") return select([...optional, ...choices.map((one) => [String(one), one])], value);
  const input = document.createElement("input");
  input.required = column.required && kind !== "string";
  if (kind !== "string") Object.assign(input, { type: "number", step: kind === "integer" ? "1" : "any" });
  if (minimum !== null) input.min = minimum;
  if (maximum !== null) input.max = maximum;
  input.value = value ?? "";
  return input;
}

function said(column, input) {
  if (input.tagName === "SELECT") return JSON.parse(input.value);
  if (column.kind === "string") return input.value === "" && !column.required ? null : input.value;
  return input.value === "" ? null : Number(input.value);
}

function button(words, label, press) {
  const made = document.createElement("button");
  Object.assign(made, { type: "button", className: "secondary outline", textContent: words, ariaLabel: label });
  made.addEventListener("click", press);
  return made;
}

function list(text) {
  const shape = JSON.parse(text.dataset.rows);
  const given = typed(text.value, shape);
  if (given === null) return;
  const { columns, least, most } = shape;
  const title = text.labels[0].textContent.trim();
  const box = document.createElement("fieldset");
  box.className = "list";
  box.ariaLabel = title;
  if (columns[0].name !== null) {
    const heads = box.appendChild(document.createElement("div"));
    heads.ariaHidden = "true"; // each input says it, too
    for (const column of columns) heads.appendChild(document.createElement("small")).textContent = column.title;
  }
  const rows = box.appendChild(document.createElement("div"));
  const more = box.appendChild(button("Add a row", `Add a row to ${title}`, () => add().querySelector("input, select").focus()));

  function value(row) {
    const inputs = row.querySelectorAll("input, select");
    const values = columns.map((column, place) => [column.name, said(column, inputs[place])]);
    return columns[0].name === null ? values[0][1] : Object.fromEntries(values.filter(([, one]) => one !== null));
  }

  function changed() {
    text.value = JSON.stringify([...rows.children].map(value));
    more.hidden = rows.children.length >= most;
    [...rows.children].forEach((row, place) => {
      row.querySelectorAll("input, select").forEach((input, which) => {
        input.ariaLabel = `${title}, row ${place + 1}: ${columns[which].title}`;
      });
      row.lastElementChild.ariaLabel = `Remove row ${place + 1} of ${title}`;
      row.lastElementChild.hidden = rows.children.length <= least;
    });
  }

  function remove(row) {
    const next = row.nextElementSibling || row.previousElementSibling;
    row.remove();
    changed();
    (next ? next.querySelector("input, select") : more).focus();
  }

  function add(item) {
    const row = document.createElement("div");
    for (const column of columns) {
      const input = control(column, column.name === null ? item : item?.[column.name]);
      row.append(input);
    }
    row.append(button("✕", "", () => remove(row)));
    rows.append(row);
    changed();
    return row;
  }

  given.forEach(add);
  while (rows.children.length < Math.max(least, given.length ? 0 : 1)) add();
  box.addEventListener("input", changed);
  text.after(box);
  text.hidden = true;
  text.labels[0].removeAttribute("for");
}

document.querySelectorAll("textarea[data-rows]").forEach(list);
