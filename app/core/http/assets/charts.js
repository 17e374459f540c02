// Draws <figure class="chart"> from the table inside it, which is also what is read where nothing can be drawn.
"use strict";
(() => {
  const drawn = new Map();
  // In the next frame: a chart that changes its size while sizes are told would make the browser complain of a loop.
  const watcher = new ResizeObserver((entries) => {
    requestAnimationFrame(() => entries.forEach(({ target }) => fit(target)));
  });
  const SIZES = ["B", "kB", "MB", "GB", "TB", "PB"];

  const sizeOf = (box) => ({ width: Math.max(200, Math.floor(box.clientWidth)), height: box.clientWidth < 500 ? 180 : 240 });

  function fit(box) {
    const plot = drawn.get(box);
    const size = sizeOf(box);
    if (plot && (plot.width !== size.width || plot.height !== size.height)) plot.setSize(size);
  }

  function bytes(value) {
    let step = 0;
    while (Math.abs(value) >= 1000 && step < SIZES.length - 1) {
      value /= 1024;
      step += 1;
    }
    return `${Number(value.toPrecision(3))} ${SIZES[step]}`;
  }

  const words = (unit) => (value) => {
    if (value === null || value === undefined) return "–";
    if (unit === "bytes") return bytes(value);
    const short = Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3));
    return unit ? `${short.toLocaleString("en")} ${unit}` : short.toLocaleString("en");
  };

  // In UTC, as everywhere on the pages.
  const moment = (at) => new Date(at * 1000).toISOString();
  const ticks = (_, splits) => splits.map((at) => (moment(at).slice(11, 16) === "00:00" ? moment(at).slice(5, 10) : moment(at).slice(11, 16)));

  // A row is a moment: <th data-at="seconds since 1970">, and a <td data-value> for each line; without a value there is a gap.
  function numbers(table) {
    const rows = [...table.tBodies[0].rows];
    const lines = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent.trim());
    const of = (row, column) => (row.cells[column].dataset.value === undefined ? null : Number(row.cells[column].dataset.value));
    const data = [rows.map((row) => Number(row.cells[0].dataset.at))];
    lines.forEach((_, index) => data.push(rows.map((row) => of(row, index + 1))));
    return { lines, data };
  }

  function axis(color, grid, more) {
    return { stroke: color, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: "12px system-ui, sans-serif", ...more };
  }

  function options(figure, box, lines) {
    const style = getComputedStyle(figure);
    const color = (name) => style.getPropertyValue(name).trim();
    const say = words(figure.dataset.unit);
    const series = lines.map((label, index) => ({
      label, stroke: color(`--series-${index + 1}`), width: 2, dash: index > 0 ? [8 - index * 2, 4] : undefined,
      points: { size: 5 }, spanGaps: true, value: (_, value) => say(value),
    }));
    return {
      ...sizeOf(box), tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"), cursor: { drag: { x: false, y: false } },
      scales: { y: { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.1 : 1] } },
      series: [{ label: "Time", value: (_, at) => (at ? `${moment(at).slice(0, 16).replace("T", " ")} UTC` : "–") }, ...series],
      axes: [axis(color("--faint"), color("--line"), { values: ticks }), axis(color("--faint"), color("--line"), { size: 78, values: (_, splits) => splits.map(say) })],
    };
  }

  function draw(figure) {
    const table = figure.querySelector("details table"); // not the legend that was drawn before
    const box = figure.querySelector(".plot");
    if (!table || !box) return;
    const { lines, data } = numbers(table);
    box.hidden = false;
    drawn.get(box)?.destroy();
    drawn.set(box, new uPlot(options(figure, box, lines), data, box));
    watcher.observe(box);
  }

  function drawAll() {
    for (const [box, plot] of drawn) {
      if (box.isConnected) continue;
      plot.destroy();
      watcher.unobserve(box);
      drawn.delete(box);
    }
    document.querySelectorAll("figure.chart").forEach(draw);
  }

  document.addEventListener("gatehouse:replaced", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  drawAll();
})();
