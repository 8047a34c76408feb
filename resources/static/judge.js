// What a CSV file with the target says of its predictions; rows.js shows it.
"use strict";

// How right the predictions are, where the file has what was to be predicted; null where it has not.
function judged(predictions, asked) {
  const place = rows.dataset.target && asked ? asked[0].indexOf(rows.dataset.target) : -1;
  if (place < 0 || asked.length !== predictions.length + 1) return null;
  const said = asked.slice(1).map((line) => line[place]);
  // of an answer with several parts, the one that is called like the target
  const part = (answer) => (answer && typeof answer === "object" ? answer[rows.dataset.target] ?? answer.label : answer);
  const pairs = predictions.map((prediction, at) => [part(prediction), said[at]]).filter(([, text]) => text !== "");
  if (!pairs.length || pairs.some(([value]) => value === undefined || (value && typeof value === "object"))) return null;
  const numbers = pairs.map(([prediction, text]) => Math.abs(prediction - Number(text)));
  const of = `${pairs.length.toLocaleString("en")} ${pairs.length === 1 ? "row" : "rows"} with ${rows.dataset.target}`;
  if (rows.dataset.kind !== "classification" && numbers.every(Number.isFinite)) {
    const mean = numbers.reduce((sum, one) => sum + one, 0) / numbers.length;
    return `Mean absolute error ${mean.toLocaleString("en", { maximumSignificantDigits: 4 })} of ${of}.`;
  }
  const same = (value, text) => String(value) === text || (text !== "" && Number(text) === value);
  const right = pairs.filter(([value, text]) => same(value, text)).length;
  const share = (100 * right) / pairs.length;
  return `Accuracy ${share.toLocaleString("en", { maximumFractionDigits: 1 })} %: ${right.toLocaleString("en")} of ${of} are right.`;
}
