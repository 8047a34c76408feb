// Draws a model's requests and latencies from the page's JSON; the table below them says the same without a script.
"use strict";

const drawn = [];

function drawTraffic() {
  for (const chart of drawn.splice(0)) chart.destroy();
  const source = document.getElementById("traffic-data");
  if (!source) return;
  const traffic = JSON.parse(source.textContent);
  const moment = (text) => Date.parse(text) / 1000;
  const clock = new Intl.DateTimeFormat(document.documentElement.lang, {
    ...(traffic.hours > 24 ? { month: "short", day: "numeric" } : {}),
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  const date = new Intl.DateTimeFormat(document.documentElement.lang, { month: "short", day: "numeric" });
  const say = (at) => clock.format(new Date(at * 1000));
  for (const time of document.querySelectorAll("#traffic td time")) time.textContent = say(moment(time.dateTime));
  for (const word of document.querySelectorAll("#traffic .utc")) word.hidden = true;

  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const points = new Map(traffic.points.map((point) => [moment(point.at), point]));
  const [from, to, seconds] = [moment(traffic.from), moment(traffic.to), traffic.seconds];
  const starts = Array.from({ length: (to - from) / seconds }, (_, number) => from + number * seconds);
  const middles = starts.map((start) => start + seconds / 2);
  const column = (name, none) => starts.map((start) => points.get(start)?.[name] || none);

  function markDeployments(chart) {
    const { ctx, bbox } = chart;
    ctx.save();
    Object.assign(ctx, { strokeStyle: colour("--plain"), fillStyle: colour("--plain"), lineWidth: devicePixelRatio });
    ctx.font = `${11 * devicePixelRatio}px ${getComputedStyle(document.body).fontFamily}`;
    ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    let last = Infinity; // where the newer one has its number: of two at one place, one is named
    for (const { release, live_at: at } of traffic.deployments) {
      const x = Math.round(chart.valToPos(moment(at), "x", true));
      const isLate = x > bbox.left + bbox.width - 40 * devicePixelRatio;
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      ctx.textAlign = isLate ? "right" : "left";
      if (last - x < 44 * devicePixelRatio) continue;
      ctx.fillText(release, x + (isLate ? -4 : 4) * devicePixelRatio, bbox.top + 10 * devicePixelRatio);
      last = x;
    }
    ctx.restore();
  }

  function draw(id, columns, series, incrs) {
    const figure = document.getElementById(id);
    figure.hidden = false;
    figure.replaceChildren();
    const axis = {
      stroke: colour("--pico-muted-color"),
      grid: { stroke: colour("--pico-muted-border-color"), width: 1 },
      ticks: { show: false },
    };
    const number = (value) =>
      value.toLocaleString(document.documentElement.lang, { maximumSignificantDigits: 4, notation: value < 1e5 ? "standard" : "compact" });
    const value = (_, shown) => (shown === null || shown === undefined ? "–" : number(shown));
    const options = {
      width: figure.clientWidth,
      height: 220,
      plugins: [{ hooks: { draw: markDeployments } }],
      scales: { x: { range: [from, to] }, y: { range: (_, __, most) => [0, Math.max(most, incrs ? 4 : 0.1) * 1.15] } },
      axes: [
        { ...axis, values: (_, ats) => ats.map((at) => (traffic.hours > 24 ? date.format(new Date(at * 1000)) : say(at))), space: 56, size: 32 },
        { ...axis, values: (_, all) => all.map(number), size: 54, ...(incrs ? { incrs } : {}) },
      ],
      series: [
        { label: "From", value: (_, at) => (at === null || at === undefined ? "–" : say(at - seconds / 2)) },
        ...series.map((one) => ({ value, ...one })),
      ],
    };
    drawn.push(new uPlot(options, [middles, ...columns], figure));
  }

  // a dot where there is nothing on either side to draw a line to
  const isLone = (column, at) => column[at] !== null && column[at - 1] == null && column[at + 1] == null;
  const lone = (name) => ({
    show: true,
    size: 6,
    fill: colour(name),
    filter: (chart, series) => [...chart.data[series].keys()].filter((at) => isLone(chart.data[series], at)),
  });

  const whole = Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
  const bars = uPlot.paths.bars({ size: [0.8, 40] });
  draw("requests", [column("requests", 0), column("failed", null)], [
    { label: "Requests", paths: bars, fill: colour("--pico-primary"), points: { show: false } },
    {
      label: "Failed",
      paths: bars,
      fill: colour("--bad"),
      stroke: colour("--bad"),
      points: { show: true, size: 6, fill: colour("--bad") }, // one of thousands is seen
    },
  ], whole);
  draw("latency", [column("p50_ms", null), column("p99_ms", null)], [
    { label: "p50", stroke: colour("--pico-primary"), width: 2, points: lone("--pico-primary") },
    { label: "p99", stroke: colour("--wait"), width: 1.5, dash: [5, 3], points: lone("--wait") },
  ]);
}

document.addEventListener("htmx:afterSwap", drawTraffic);
addEventListener("resize", drawTraffic);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawTraffic);
drawTraffic();
