// The plots of the last hour, from the points that the bridge keeps.

import { Absent, get } from "./api.js";
import { fill, h } from "./dom.js";
import { bytes, period, rate } from "./format.js";
import { Plot } from "./plot.js";
import { absent } from "./watched.js";

const EVERY_SECONDS = 5;
const SERIES_MAX = 5;

// Bytes are counted in powers of two, and so are the steps of their axis.
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

// Time is counted in tens below a minute, and else as clocks do.
const TENS = [-6, -5, -4, -3, -2, -1, 0].flatMap((power) => [1, 2, 5].map((step) => step * 10 ** power));
const CLOCK = [
  10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800,
];
const PERIODS = [...TENS, ...CLOCK];

/** What there is to plot: the series of an answer, and how their values are written. */
const PLOTS = {
  verdicts: {
    title: "Deliveries a second",
    write: rate,
    series: ({ columns }) =>
      ["accepted", "filtered", "duplicate", "quarantined", "refused"].map((word) => [word, columns[word]]),
  },
  ack: {
    title: "Time to the answer",
    write: period,
    steps: PERIODS,
    series: ({ columns }) => [
      ["p50", columns.ack_p50],
      ["p99", columns.ack_p99],
    ],
  },
  end_to_end: {
    title: "End to end, p99",
    write: period,
    steps: PERIODS,
    series: ({ sinks }) => sinks.map(({ name, columns }) => [name, columns.end_to_end_p99]),
  },
  lag: {
    title: "Age of the oldest undelivered event",
    write: period,
    steps: PERIODS,
    series: ({ sinks }) => sinks.map(({ name, columns }) => [name, columns.oldest_pending_seconds]),
  },
  retries: {
    title: "Retries and dead letters a second",
    write: rate,
    series: ({ columns }) => [
      ["retries", columns.retries],
      ["dead letters", columns.dead_letters],
    ],
  },
  spool: {
    title: "Spool, with the next ten minutes at this rate",
    write: bytes,
    series: ({ columns, at }) => forecast(columns.spool_bytes, at),
    ahead: 600,
    steps: BINARY,
  },
  fdatasync: {
    title: "fdatasync",
    write: period,
    steps: PERIODS,
    series: ({ columns }) => [
      ["p50", columns.fdatasync_p50],
      ["p99", columns.fdatasync_p99],
    ],
  },
};

/** Draws these plots below a view, as long as it is there. */
export function plots(root, context, names) {
  const place = h("div.plots");
  root.append(place);
  const drawn = names.map((name) => [PLOTS[name], new Plot(PLOTS[name])]);
  let isAbsent = false;
  context.every(EVERY_SECONDS, async () => {
    if (isAbsent) return;
    try {
      const history = await get("/history?minutes=60", { signal: context.signal });
      if (!place.hasChildNodes()) place.append(...drawn.map(([, plot]) => plot.element));
      for (const [{ series, ahead }, plot] of drawn) {
        plot.show(times(history, ahead), series(history), SERIES_MAX);
      }
    } catch (error) {
      if (context.signal.aborted) return;
      isAbsent = error instanceof Absent;
      if (isAbsent) fill(place, absent("a history to plot"));
    }
  });
  context.signal.addEventListener("abort", () => drawn.forEach(([, plot]) => plot.end()));
}

/** The moments of the points, and of those ahead if something is forecast. */
function times({ at, every_seconds: every }, ahead = 0) {
  const last = at.at(-1) ?? Date.now() / 1000;
  const more = Array.from({ length: Math.floor(ahead / every) }, (_, index) => last + (index + 1) * every);
  return [...at, ...more];
}

/** The bytes that there are, and those that there would be: a line through the last ten minutes. */
function forecast(values, at) {
  const every = at.length > 1 ? at.at(-1) - at.at(-2) : 5;
  const points = Math.floor(600 / every);
  const recent = values.slice(-120).filter((value) => value !== null);
  const slope = recent.length > 1 ? (recent.at(-1) - recent[0]) / (recent.length - 1) : 0;
  const ahead = Array.from({ length: points }, (_, index) =>
    Math.max(0, recent.at(-1) + slope * (index + 1)),
  );
  const none = (number) => Array(number).fill(null);
  const isKnown = recent.length > 1;
  return [
    ["bytes", [...values, ...none(points)]],
    [
      "at this rate",
      [...none(Math.max(0, values.length - 1)), values.at(-1) ?? null, ...(isKnown ? ahead : none(points))],
    ],
  ];
}
