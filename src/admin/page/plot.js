// One plot: a drawing by uPlot, and beside it the newest values as text.

import { fill, h, say } from "./dom.js";

const HEIGHT = 180;
// A line is told by its dashes as well as by its colour.
const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3], [4, 2]];

export class Plot {
  /** `write` makes text of a value; `steps` are those of the axis, if not tens. */
  constructor({ title, write, steps }) {
    Object.assign(this, { write, steps });
    this.now = h("p.plot-now");
    this.cut = h("p.quiet");
    this.place = h("div.plot");
    this.element = h(
      "section.panel",
      { "aria-label": title },
      h("div.panel-head", {}, h("h2.plot-title", {}, title), this.cut),
      this.place,
      this.now,
    );
    this.resized = new ResizeObserver(() => this.fit());
    this.resized.observe(this.place);
    this.recolour = () => this.redraw();
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.scheme.addEventListener("change", this.recolour);
    addEventListener("themechange", this.recolour);
  }

  /** Shows series `[name, values]` over moments in seconds, the first ones if there are many. */
  show(moments, all, most) {
    const series = all.slice(0, most);
    say(this.cut, all.length > most ? `the first ${most} of ${all.length}` : "");
    const names = series.map(([name]) => name).join("\u0000");
    this.series = series;
    this.data = [moments, ...series.map(([, values]) => values ?? [])];
    if (!this.drawing || this.names !== names) {
      this.names = names;
      this.redraw();
    } else {
      this.drawing.setData(this.data);
    }
    this.sayNow();
  }

  redraw() {
    this.drawing?.destroy();
    this.drawing = undefined;
    if (!this.data || typeof uPlot === "undefined") return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => resolved(style.getPropertyValue(name));
    const [quiet, line] = [colour("--quiet"), colour("--line")];
    const axis = {
      stroke: quiet,
      grid: { stroke: line, width: 1 },
      ticks: { show: false },
      font: "11px system-ui",
    };
    const lines = this.series.map(([label], index) => ({
      label,
      stroke: colour(`--plot-${index + 1}`),
      width: 1.75,
      dash: DASHES[index],
      points: { show: false },
      spanGaps: false,
    }));
    const values = (_, splits) => splits.map((value) => (value === null ? "" : this.write(value)));
    this.drawing = new uPlot(
      {
        width: Math.max(200, this.place.clientWidth),
        height: HEIGHT,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        padding: [8, 26, 0, 0],
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, points: { size: 6 } },
        scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.1 : 1] } },
        axes: [
          { ...axis, values: clocks, space: 60, size: 26 },
          { ...axis, values, size: 68, ...(this.steps ? { incrs: this.steps } : {}) },
        ],
        series: [{}, ...lines],
        hooks: { setCursor: [(drawing) => this.sayAt(drawing.cursor.idx)] },
      },
      this.data,
      this.place,
    );
  }

  sayNow() {
    this.sayAt(null);
  }

  sayAt(index) {
    const at = (values) => {
      if (index !== null && index !== undefined) return values[index];
      return values.findLast((value) => value !== null && value !== undefined);
    };
    fill(
      this.now,
      (this.series ?? []).map(([name, values], place) => {
        const value = at(values ?? []);
        const text = value === null || value === undefined ? "–" : this.write(value);
        return h(
          "span",
          {},
          h(`span.key.key-${place + 1}`, { "aria-hidden": "true" }),
          `${name} `,
          h("strong", {}, text),
        );
      }),
    );
  }

  fit() {
    if (this.drawing && this.place.clientWidth !== this.drawing.width) {
      this.drawing.setSize({ width: Math.max(200, this.place.clientWidth), height: HEIGHT });
    }
  }

  end() {
    this.resized.disconnect();
    this.scheme.removeEventListener("change", this.recolour);
    removeEventListener("themechange", this.recolour);
    this.drawing?.destroy();
  }
}

/** The moments of an axis, in UTC, with seconds if they are less than a minute apart. */
function clocks(_, splits, index, space, step) {
  return splits.map((seconds) => new Date(seconds * 1000).toISOString().slice(11, step < 60 ? 19 : 16));
}

/** A colour as a canvas takes it: `light-dark()` is resolved on an element only. */
function resolved(value) {
  const probe = h("span.unseen");
  probe.style.color = value;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}
