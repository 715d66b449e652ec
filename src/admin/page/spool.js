// The space of the log: how much is used, and when it is full.

import { badge, facts, fill, h } from "./dom.js";
import { bytes, count, counted, period, rate } from "./format.js";
import { plots } from "./history.js";
import { milliseconds } from "./sinks.js";
import { watch } from "./watched.js";

export const title = "Spool";

const SOON_SECONDS = 24 * 3600;

export function mount(root, context) {
  const panel = h("section.panel", { "aria-label": "Space" }, h("p.quiet", {}, "Looking …"));
  watch(root, context, {
    path: "/spool",
    what: "the state of its spool",
    show: (spool) => show(panel, spool),
    absent: () => panel.remove(),
  });
  root.append(panel);
  plots(root, context, ["spool", "fdatasync"]);
}

function show(panel, spool) {
  const whole = spool.capacity_whole || spool.bytes_max;
  const used = Math.max(0, whole - spool.capacity_left);
  const part = whole > 0 ? Math.min(1, used / whole) : 0;
  const level = spool.accepting === false || part > 0.95 ? "bad" : part > 0.75 ? "warn" : "good";
  const filled = h("div");
  filled.style.width = `${(part * 100).toFixed(1)}%`;
  const word = { good: "accepting", warn: "filling up", bad: "nearly full" }[level];
  fill(
    panel,
    h(
      "div.panel-head",
      {},
      h(
        "h2",
        {},
        "Space ",
        badge(level, spool.accepting === false ? `refusing: ${spool.refuses_because}` : word),
      ),
      h("p", {}, timeToFull(spool)),
    ),
    h(
      `div.meter.${level}`,
      {
        role: "meter",
        "aria-label": "Space that is taken",
        "aria-valuemin": "0",
        "aria-valuemax": "100",
        "aria-valuenow": (part * 100).toFixed(0),
      },
      filled,
    ),
    h("p.quiet", {}, `${bytes(used)} of ${bytes(whole)} are taken by events that a sink may still need`),
    facts(
      [
        ["Files of the log", `${bytes(spool.bytes)} in ${counted(spool.segments, "segment")}`],
        ["Bound", `${bytes(spool.bytes_max)} (spool.bytes_max)`],
        ["Free on the disk", bytes(spool.free_bytes)],
        ["Positions", `${count(spool.first)} to ${count(spool.head)}`],
        ["Comes in", spool.events_per_second === null ? "not known yet" : rate(spool.events_per_second)],
        [
          "fdatasync",
          `p50 ${milliseconds(spool.fdatasync_ms?.p50)}, p99 ${milliseconds(spool.fdatasync_ms?.p99)}`,
        ],
        [
          "The disk is at it",
          spool.disk_outstanding_ms > 100 ? `for ${period(spool.disk_outstanding_ms / 1000)}` : "",
        ],
        ["Duplicate window", counted(spool.duplicate_keys, "key")],
        [
          "Not verified yet",
          spool.unverified_segments > 0 ? counted(spool.unverified_segments, "segment") : "",
        ],
        ["Damaged records", count(spool.corrupt_records)],
        ["Torn tails", spool.torn_tails > 0 ? count(spool.torn_tails) : ""],
      ],
      ".columns",
    ),
  );
}

function timeToFull({ seconds_to_full: seconds }) {
  if (seconds === null || seconds === undefined) return h("span.quiet", {}, "does not fill up at this rate");
  const text = `full in ${period(seconds)} at this rate`;
  return seconds < SOON_SECONDS ? badge("warn", text) : h("span", {}, text);
}
