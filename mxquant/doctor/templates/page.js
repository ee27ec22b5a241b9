"use strict";
(() => {
  const charts = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const panel = document.getElementById("panel");
  const body = document.getElementById("panel-body");
  const rows = [...document.querySelectorAll("#layers tbody tr")];
  let open = null; // number of the layer in the panel, to draw it again in other colours

  // Light or dark: as the system has it, until the button says otherwise.
  const theme = document.getElementById("theme");
  const wantsDark = window.matchMedia("(prefers-color-scheme: dark)");
  const paint = (dark) => {
    root.classList.toggle("dark", dark);
    theme.setAttribute("aria-pressed", String(dark));
    theme.textContent = dark ? "Light" : "Dark";
    if (open !== null) draw(open);
  };
  theme.addEventListener("click", () => paint(!root.classList.contains("dark")));
  wantsDark.addEventListener("change", (event) => paint(event.matches));

  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const layout = (x, y, more) => ({
    margin: { l: 56, r: 12, t: 26, b: 44 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), size: 12 }, showlegend: false, bargap: 0,
    xaxis: { title: { text: x }, gridcolor: colour("--line"), zerolinecolor: colour("--line") },
    yaxis: { title: { text: y }, gridcolor: colour("--line"), zerolinecolor: colour("--line") }, ...more,
  });
  const config = { displayModeBar: false, responsive: true };

  let unpacked = null;
  const plotly = () => (unpacked ??= (async () => {
    const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (each) => each.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
  })());

  // The thresholds of all methods as lines on both sides where there are negative values; the chosen one is thick.
  const marks = (chart) => {
    const negative = chart.bars.start < 0;
    const shapes = [], annotations = [];
    const dashes = ["dot", "dash", "dashdot", "longdash"];
    const mark = (name, value, dash, width, place, weight = "normal") => {
      for (const x of negative ? [-value, value] : [value]) {
        shapes.push({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: { color: colour("--ink"), width, dash } });
      }
      annotations.push({ x: value, y: 1 - 0.085 * place, yref: "paper", yanchor: "bottom", xanchor: "right", xshift: -3,
        text: name, showarrow: false, bgcolor: colour("--card"), font: { size: 11, color: colour("--ink"), weight } });
    };
    Object.entries(chart.thresholds).forEach(([name, value], i) => mark(name, value, dashes[i % 4], 1, i));
    if (chart.chosen !== null) mark("chosen", chart.chosen, "solid", 2.5, Object.keys(chart.thresholds).length, "bold");
    return { shapes, annotations };
  };
  const draw = async (number) => {
    const chart = charts[number];
    try {
      await plotly();
    } catch (error) {
      for (const place of body.querySelectorAll(".chart")) place.textContent = "This browser is too old to draw it: " + error;
      return;
    }
    if (open !== number) return; // another layer was opened in the meantime
    for (const place of body.querySelectorAll(".chart")) {
      if (place.dataset.chart === "histogram") {
        const { start, width, counts } = chart.bars;
        const x = counts.map((_, i) => start + (i + 0.5) * width);
        const trace = { type: "bar", x, y: counts, width, marker: { color: colour("--accent") }, hovertemplate: "%{x:.4g}: %{y}<extra></extra>" };
        Plotly.react(place, [trace], layout("value", "how many (log)", marks(chart)), config);
        Plotly.relayout(place, { "yaxis.type": "log", "yaxis.dtick": 1 });
      } else {
        const { low, high, channels } = chart.weights;
        const x = low.map((_, i) => Math.round((i * channels) / low.length));
        const trace = { type: "bar", x, y: high.map((value, i) => value - low[i]), base: low, customdata: high.map((value, i) => [low[i], value]),
          marker: { color: colour("--accent") }, hovertemplate: "channel %{x}: %{customdata[0]} to %{customdata[1]}<extra></extra>" };
        Plotly.react(place, [trace], layout("output channel", "weight", {}), config);
      }
    }
  };
  const show = (number) => {
    document.getElementById("panel-title").textContent = rows.find((row) => row.dataset.layer === String(number)).cells[1].textContent;
    body.replaceChildren(document.getElementById("layer-" + number).content.cloneNode(true));
    if (!panel.open) panel.showModal();
    panel.scrollTop = 0;
    open = number;
    draw(number);
  };
  const opens = (element) => {
    element.addEventListener("click", () => show(Number(element.dataset.layer)));
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      show(Number(element.dataset.layer));
    });
  };
  document.querySelectorAll("[data-layer]").forEach(opens);
  document.getElementById("close").addEventListener("click", () => panel.close());
  panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
  panel.addEventListener("close", () => { open = null; });

  // The table: what is shown, and in which order. Layers without a number come last.
  const find = document.getElementById("find");
  const filter = () => {
    const text = find.value.trim().toLowerCase();
    const wanted = document.querySelector("input[name=show]:checked").value;
    let count = 0;
    for (const row of rows) {
      const named = (row.cells[1].textContent + " " + row.cells[2].textContent).toLowerCase().includes(text);
      row.hidden = !(named && (wanted === "all" || row.dataset.precision === wanted));
      count += row.hidden ? 0 : 1;
    }
    document.getElementById("count").textContent = count + (count === 1 ? " layer" : " layers");
  };
  find.addEventListener("input", filter);
  document.querySelectorAll("input[name=show]").forEach((each) => each.addEventListener("change", filter));
  const number = (cell) => ({ "": NaN, inf: Infinity, "-inf": -Infinity }[cell.dataset.value] ?? Number(cell.dataset.value));
  document.querySelectorAll("#layers th button").forEach((button) => button.addEventListener("click", () => {
    const head = button.parentElement;
    const up = head.getAttribute("aria-sort") !== "ascending";
    document.querySelectorAll("#layers th").forEach((each) => each.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const column = Number(button.dataset.column);
    const sign = up ? 1 : -1;
    const ordered = [...rows].sort((one, other) => {
      const [a, b] = [one.cells[column], other.cells[column]];
      if (button.dataset.kind === "text") return sign * a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
      const [x, y] = [number(a), number(b)];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y));
      return x === y ? 0 : sign * (x < y ? -1 : 1);
    });
    document.querySelector("#layers tbody").append(...ordered);
  }));

  document.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", async () => {
    const code = button.previousElementSibling;
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // a page from a file may not be allowed to
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }));

  // A drawing that is wider than its frame begins where the network does.
  const network = document.querySelector(".network");
  const frame = network.getBoundingClientRect();
  const first = network.querySelector(".box")?.getBoundingClientRect();
  if (first) network.scrollLeft = first.x + first.width / 2 - frame.x - frame.width / 2;
  paint(wantsDark.matches);
})();
