// Makes rows of steps (decides only): a delivery and what became of it at the sinks are one row.

const ROWS_MAX = 10_000;
const FAILED = new Set(["quarantined", "refused", "unanswered", "held", "rejected"]);
const STATES = {
  accepted: "good",
  published: "good",
  filtered: "idle",
  duplicate: "idle",
  held: "warn",
  unanswered: "warn",
  quarantined: "bad",
  refused: "bad",
  rejected: "bad",
};

export class EventRows {
  constructor() {
    this.clear();
  }

  clear() {
    this.rows = [];
    this.byPosition = new Map();
    this.number = 0;
    this.passed = 0;
  }

  /** Takes steps in, oldest first; how many rows came in front. */
  take(steps) {
    const before = this.number;
    for (const step of steps) this.takeOne(step);
    const over = this.rows.length - ROWS_MAX;
    if (over > 0) {
      for (const row of this.rows.splice(0, over)) {
        if (this.byPosition.get(row.position) === row) this.byPosition.delete(row.position);
      }
      this.passed += over;
    }
    return this.number - before;
  }

  /** Rows, newest first, of which `wanted` is true. */
  newestFirst(wanted) {
    const newest = [];
    for (let index = this.rows.length - 1; index >= 0; index -= 1) {
      if (!wanted || wanted(this.rows[index])) newest.push(this.rows[index]);
    }
    return newest;
  }

  takeOne(step) {
    const word = step.step === "taken" ? step.verdict : step.step;
    if (step.step === "published" || step.step === "rejected") {
      const row = this.byPosition.get(step.position);
      if (row) {
        attach(row, step, word);
        return;
      }
    }
    const row = {
      number: (this.number += 1),
      version: 0,
      at: step.at,
      word,
      step,
      source: step.source ?? "",
      type: step.type ?? "",
      id: step.id ?? "",
      position: step.position,
      sinks: [],
      state: STATES[word] ?? "idle",
      selected: step.selected_by,
    };
    if (step.step === "published" || step.step === "rejected") row.sinks.push(atSink(step, word));
    this.rows.push(row);
    const isFirst = word === "accepted" || word === "published" || word === "rejected";
    if (isFirst && step.position !== undefined && step.position !== null)
      this.byPosition.set(step.position, row);
  }
}

function attach(row, step, word) {
  const before = row.sinks.findIndex(({ sink }) => sink === step.sink);
  if (before >= 0) row.sinks.splice(before, 1);
  row.sinks.push(atSink(step, word));
  if (!row.type) row.type = step.type;
  if (word === "rejected") row.state = "bad";
  row.version += 1;
}

function atSink(step, word) {
  return {
    sink: step.sink,
    word,
    placement: step.placement,
    after: step.after_ms,
    reason: step.reason,
    topic: step.topic,
    replay: step.replay === true,
  };
}

/** Whether an operator has to look at a row. */
export const isFailed = (row) => FAILED.has(row.word) || row.sinks.some(({ word }) => word === "rejected");

/** The sinks that select an event and have not said yet what became of it. */
export function awaited(row) {
  const known = new Set(row.sinks.map(({ sink }) => sink));
  return (row.selected ?? []).filter((sink) => !known.has(sink));
}

/** Milliseconds until the last sink had it, replays apart; of what has no sink, until it was decided on. */
export function lasted(row) {
  const own = row.sinks.filter(({ replay }) => !replay);
  const published = own.map(({ after }) => after).filter((after) => after !== undefined);
  if (published.length > 0) return Math.max(...published);
  if (row.step.taken_us !== undefined) return row.step.taken_us / 1000;
  return row.step.waited_ms;
}
