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
  const size = () => ({ width: figure.clientWidth, height: Math.min(340, Math.max(220, figure.clientWidth * 0.4)) });
  figure.replaceChildren();
  const chart = new uPlot(
    {
      ...size(),
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      cursor: { points: { size: 9 } },
      legend: { live: true },
      axes: [axis, { ...axis, size: 64 }],
      series: [
        { value: "{YYYY}-{MM}-{DD} {HH}:{mm}" },
        {
          label: "Prediction",
          stroke: colour("--pico-primary"),
          fill: colour("--chart-fill"),
          width: 2,
          points: { show: points.at.length < 60, size: 6, fill: colour("--pico-primary") },
        },
      ],
    },
    [points.at, points.value],
    figure,
  );
  return () => chart.setSize(size());
}

let resize = draw();
addEventListener("resize", () => resize());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { resize = draw(); });
