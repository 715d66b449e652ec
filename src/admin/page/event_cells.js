// What each cell of the events shows of a row.

import { fill, h, say, shown } from "./dom.js";
import { awaited, lasted } from "./event_rows.js";
import { bytes, clock, count, period, placedShort, shortId, words } from "./format.js";

const GLYPHS = { good: "●", warn: "▲", bad: "✕", idle: "○" };

export const COLUMNS = [
  {
    name: "time",
    title: "Time (UTC)",
    fill: (cell, row) => {
      cell.title = shown(row.at);
      say(cell, clock(row.at));
    },
  },
  {
    name: "source",
    title: "Source",
    fill: (cell, row) =>
      say(cell, row.source || (row.word === "refused" ? "no source" : (row.step.sink ?? ""))),
  },
  {
    name: "type",
    title: "Type",
    fill: (cell, row) => {
      cell.title = shown(what(row));
      say(cell, what(row));
    },
  },
  {
    name: "id",
    title: "Id",
    fill: (cell, row) => {
      cell.title = shown(row.id);
      say(cell, shortId(row.id));
    },
  },
  { name: "verdict", title: "Verdict", fill: fillVerdict },
  { name: "sinks", title: "Sinks", fill: fillSinks },
  { name: "total", title: "Total", fill: (cell, row) => say(cell, milliseconds(lasted(row))) },
];

function what(row) {
  if (row.type) return row.type;
  const { step } = row;
  if (row.word === "held") return step.topic;
  return "";
}

function fillVerdict(cell, row) {
  cell.setAttribute("class", `cell cell-verdict state-${row.state}`);
  fill(cell, h("span.glyph", { "aria-hidden": "true" }, GLYPHS[row.state]), row.word);
}

function fillSinks(cell, row) {
  const { step } = row;
  if (row.word === "held") {
    const waiting = `${count(step.records)} ${step.records === 1 ? "waits" : "wait"}`;
    fill(cell, h("span.chip.warn", {}, `${step.sink} holds: ${words(step.reason)}, ${waiting}`));
    return;
  }
  const told = row.sinks.map(({ sink, word, placement, reason, replay }) =>
    word === "rejected"
      ? h("span.chip.bad", {}, `✕ ${sink} ${words(reason)}`)
      : h("span.chip", {}, `${sink} ${placedShort(placement)}${replay ? " (replay)" : ""}`),
  );
  const others =
    row.word === "accepted" ? awaited(row).map((sink) => h("span.chip.wait", {}, `${sink} …`)) : [];
  const none = row.word === "accepted" && row.selected?.length === 0;
  fill(cell, told, others, none ? h("span.quiet", {}, "no sink selects it") : "", why(row));
  cell.title = shown(cell.textContent);
}

function why(row) {
  const { step } = row;
  if (row.word === "filtered") return h("span.quiet", {}, words(step.decided_by));
  if (row.word === "duplicate") {
    const first = step.position ? `, copy of ${count(step.position)}` : "";
    return h("span.quiet", {}, `${words(step.decided_by)}${first}`);
  }
  if (row.word === "refused") {
    const size = step.bytes ? `, ${bytes(step.bytes)}` : "";
    return h("span.quiet", {}, `${step.status} ${words(step.reason)}${size}`);
  }
  if (row.word === "quarantined") return h("span.quiet", {}, words(step.reason));
  if (row.word === "unanswered")
    return h("span.quiet", {}, `the sender waited ${period(step.waited_ms / 1000)}`);
  return "";
}

function milliseconds(number) {
  if (number === undefined) return "";
  return number === 0 ? "<1 ms" : period(number / 1000);
}
