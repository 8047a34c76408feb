// Draws the line of a series from the page's JSON; the table below it says the same without a script.
"use strict";

function draw() {
  const figure = document.getElementById("chart");
  const points = JSON.parse(document.getElementById("points").textContent);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = {
    stroke: colour("--pico-muted-color"),
    grid: { stroke: colour("--pico-muted-border-color"), width: 1 },
    ticks: { show: false },
  };
  const days = points.at.every((at) => at % 86400 === 0);
  const moment = new Intl.DateTimeFormat(document.documentElement.lang, {
    timeZone: "UTC",
    month: "short",
    ...(days && points.at.at(-1) - points.at[0] > 300 * 86400 ? { year: "numeric" } : { day: "numeric" }),
    ...(days ? {} : { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
  });
  const say = (at) => moment.format(new Date(at * 1000));
  const when = {
    ...axis,
    values: (_, ats) => ats.map(say),
    space: days ? 60 : 110,
    incrs: days ? [1, 2, 3, 7, 14, 28, 56, 91, 182, 364].map((n) => n * 86400) : undefined,
  };
  const size = () => ({ width: figure.clientWidth, height: Math.min(340, Math.max(220, figure.clientWidth * 0.4)) });
  const band = points.low.some((low) => low !== null);
  const known = points.known.length > 0;
  const first = known ? 2 : 1; // the prediction's place among the series
  const few = points.value.filter((value) => value !== null).length < 60;
  const number = (value) => value.toLocaleString(document.documentElement.lang, { useGrouping: "min2", maximumSignificantDigits: 6 });
  // Where nothing is pointed at, the legend says the last point.
  const said = {
    value: (chart, value, series, at) => {
      const shown = at === null || at === undefined ? chart.data[series].at(-1) : value;
      return shown === null || shown === undefined ? "–" : number(shown);
    },
    spanGaps: true,
  };
  const edge = { ...said, stroke: colour("--pico-muted-color"), width: 1, dash: [4, 4], points: { show: false } };
  figure.replaceChildren();
  const chart = new uPlot(
    {
      ...size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { points: { size: 9 } },
      legend: { live: true },
      axes: [when, { ...axis, size: 64, values: (_, values) => values.map(number) }],
      bands: band ? [{ series: [first + 2, first + 1], fill: colour("--chart-fill") }] : [],
      series: [
        { label: "When", value: (_, at) => say(at ?? points.at.at(-1)) },
        ...(known ? [{ ...said, label: points.names?.known ?? "Known", stroke: colour("--pico-muted-color"), width: 1.5, points: { show: false } }] : []),
        {
          ...said,
          label: points.names?.value ?? "Prediction",
          stroke: colour("--pico-primary"),
          fill: band ? undefined : colour("--chart-fill"),
          width: 2,
          points: { show: few, size: 6, fill: colour("--pico-primary") },
        },
        ...(band ? [{ ...edge, label: "Low" }, { ...edge, label: "High" }] : []),
      ],
    },
    [points.at, ...(known ? [points.known] : []), points.value, ...(band ? [points.low, points.high] : [])],
    figure,
  );
  return () => chart.setSize(size());
}

// A page that follows may bring its chart later, or a new one.
let resize = null;
const redraw = () => { resize = document.getElementById("chart") ? draw() : null; };
redraw();
addEventListener("resize", () => resize?.());
document.addEventListener("htmx:afterSettle", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
