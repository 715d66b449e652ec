// The events as they come, with filters, and the timeline of the one that is chosen.

import { get, query, Absent } from "./api.js";
import { badge, fill, h, say } from "./dom.js";
import { COLUMNS } from "./event_cells.js";
import { EventRows, isFailed } from "./event_rows.js";
import { Detail } from "./detail.js";
import { count } from "./format.js";
import { Grid } from "./grid.js";
import { follow } from "./live.js";

const FIRST_STEPS = 1000;
const VERDICTS = [
  "accepted",
  "filtered",
  "duplicate",
  "quarantined",
  "refused",
  "unanswered",
  "published",
  "held",
  "rejected",
];
// A published step belongs to the row of its event, so these are chosen here and not by the bridge.
const CHOSEN_HERE = new Set(["accepted", "published"]);

export const title = "Events";

export function mount(root, context) {
  const view = new EventsView(context);
  root.append(view.element);
  view.begin();
  return () => view.end();
}

class EventsView {
  constructor(context) {
    this.context = context;
    this.rows = new EventRows();
    this.waiting = [];
    this.paused = false;
    this.seen = [];
    this.detail = new Detail(context, () => this.grid.element.focus());
    this.grid = new Grid({
      label: "Events, newest first",
      columns: COLUMNS,
      rowHeight: () => (context.isNarrow() ? 58 : 32),
      mark: (row) => (isFailed(row) ? " failed" : ""),
      open: (row) => this.detail.open(row),
    });
    this.buildFilters();
    this.state = h("p.live-state", { role: "status" });
    this.notes = h("p.note", { hidden: true });
    this.empty = h("div.nothing", { hidden: true });
    this.element = h(
      "section.events",
      {},
      h("div.bar", {}, this.form, h("div.bar-end", {}, this.state, this.pause)),
      this.notes,
      h("div.split", {}, h("div.grid-frame", {}, this.grid.element, this.empty), this.detail.element),
    );
  }

  buildFilters() {
    const wanted = this.context.parameters;
    const text = (name, label, hint) =>
      h(
        "label.field",
        {},
        h("span", {}, label),
        h("input", {
          type: "search",
          name,
          placeholder: hint,
          value: wanted.get(name) ?? "",
          autocomplete: "off",
          spellcheck: "false",
        }),
      );
    const verdicts = h(
      "select",
      { name: "verdict" },
      h("option", { value: "" }, "all"),
      VERDICTS.map((word) => h("option", { value: word }, word)),
    );
    verdicts.value = wanted.get("verdict") ?? "";
    this.form = h(
      "form.filters",
      { role: "search", "aria-label": "Filter events" },
      text("type", "Type", "call.created"),
      text("id", "Id", "first characters"),
      text("source", "Source", "all"),
      text("sink", "Sink", "all"),
      h("label.field", {}, h("span", {}, "Verdict"), verdicts),
      h(
        "label.check",
        {},
        h("input", {
          type: "checkbox",
          name: "failed",
          checked: wanted.get("failed") === "true",
        }),
        "failed only",
      ),
    );
    let timer;
    this.form.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.begin(), 250);
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    this.context.signal.addEventListener("abort", () => clearTimeout(timer));
    this.pause = h("button.plain", { type: "button", "aria-pressed": "false" }, "Pause");
    this.pause.addEventListener("click", () => this.togglePause());
    this.context.keys({ p: () => this.togglePause(), "/": () => this.form.elements.type.focus() });
  }

  /** What is wanted: by the bridge, and here. */
  filter() {
    const values = Object.fromEntries(
      ["type", "id", "source", "sink", "verdict"].map((name) => [
        name,
        this.form.elements[name].value.trim(),
      ]),
    );
    values.failed = this.form.elements.failed.checked ? "true" : "";
    const { verdict } = values;
    this.wanted = null;
    const asked = { ...values };
    if (CHOSEN_HERE.has(verdict)) {
      asked.verdict = "";
      this.wanted = (row) =>
        row.word === verdict ||
        (verdict === "published" && row.sinks.some(({ word }) => word === "published"));
    }
    const id = asked.id.replace(/^sha256-/, "");
    this.tooShort = id.length > 0 && id.length < 4;
    if (this.tooShort) asked.id = "";
    return { values, asked };
  }

  async begin() {
    const { values, asked } = this.filter();
    this.context.remember(values);
    this.following?.abort();
    const following = new AbortController();
    this.following = following;
    this.rows.clear();
    this.waiting = [];
    this.skipped = 0;
    this.say("wait", "connecting");
    this.note(this.tooShort ? "An id is looked for from its fourth character on." : "");
    const signal = AbortSignal.any([following.signal, this.context.signal]);
    try {
      const kept = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== ""));
      const page = await get(`/events${query({ ...kept, limit: FIRST_STEPS })}`, { signal });
      this.take(page.items);
      this.drawNow();
      await follow(page.next, kept, signal, {
        steps: (steps) => this.take(steps),
        skipped: (number) => this.addSkipped(number),
        restarted: () => this.note("The bridge has started again: what was before it is not in this list."),
        state: (word, detail) => this.connection(word, detail),
      });
    } catch (error) {
      if (signal.aborted) return;
      this.connection(
        "refused",
        error instanceof Absent
          ? "This bridge does not offer its events over HTTP: it is an older one."
          : error.message,
      );
      this.drawNow();
    }
  }

  take(steps) {
    this.noteRate(steps.length);
    if (this.paused) {
      this.waiting.push(...steps);
      if (this.waiting.length > 10_000) this.waiting.splice(0, this.waiting.length - 10_000);
      say(this.pause, `Go on (${count(this.waiting.length)})`);
      return;
    }
    this.added = (this.added ?? 0) + this.rows.take(steps);
    this.draw();
  }

  draw() {
    this.frame ??= requestAnimationFrame(() => this.drawNow());
  }

  drawNow() {
    cancelAnimationFrame(this.frame);
    this.frame = undefined;
    const before = this.shown ?? 0;
    const rows = this.rows.newestFirst(this.wanted);
    this.grid.show(rows, this.wanted ? Math.max(0, rows.length - before) : (this.added ?? 0));
    [this.shown, this.added] = [rows.length, 0];
    this.detail.refresh();
    this.empty.hidden = rows.length > 0;
    if (rows.length === 0) this.sayEmpty();
  }

  sayEmpty() {
    const { values } = this.filter();
    const isFiltered = Object.values(values).some((value) => value !== "");
    fill(
      this.empty,
      h("p.nothing-title", {}, isFiltered ? "No step passes these filters." : "No event yet."),
      isFiltered
        ? h("p", {}, "Whatever passes them shows here as it comes. Empty a filter to see more.")
        : h("p", {}, "Send one: ", h("code", {}, "fanbridge send SOURCE TYPE"), ", or wait for a provider."),
    );
  }

  togglePause() {
    this.paused = !this.paused;
    this.pause.setAttribute("aria-pressed", String(this.paused));
    say(this.pause, this.paused ? "Go on" : "Pause");
    if (!this.paused) this.take(this.waiting.splice(0));
    this.connection(this.word, this.because);
  }

  noteRate(number) {
    const now = performance.now();
    this.seen.push([now, number]);
    while (this.seen.length > 1 && now - this.seen[0][0] > 5000) this.seen.shift();
  }

  connection(word, because) {
    [this.word, this.because] = [word, because];
    if (word === "live" && this.paused) this.say("wait", "paused");
    else if (word === "live") this.say("good", "live");
    else if (word === "waiting") this.say("warn", "not connected", because);
    else if (word === "refused") this.say("bad", "not shown", because);
  }

  say(state, word, because) {
    fill(this.state, badge(state, word), because ? h("span.because", {}, because) : "");
  }

  addSkipped(number) {
    this.skipped += number;
    this.note(
      `More came than this list shows: ${count(this.skipped)} steps were passed over. Use a filter, or ` +
        "`fanbridge tail`, which leaves nothing out.",
    );
  }

  note(text) {
    this.notes.hidden = text === "";
    say(this.notes, text);
  }

  end() {
    this.following?.abort();
    cancelAnimationFrame(this.frame);
    this.grid.end();
  }
}
