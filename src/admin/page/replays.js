// Sends delivered events to a sink once more, and shows how far that has got.

import { items, post } from "./api.js";
import { badge, button, fill, h, nothing, table } from "./dom.js";
import { ago, count, counted, date, rate } from "./format.js";
import { watch } from "./watched.js";

export const title = "Replays";

const STATES = { running: "wait", done: "good", cancelled: "idle", stopped: "bad" };
const TYPES_SHOWN = 12;

export function mount(root, context) {
  const list = h("div.panel", {}, h("p.quiet", {}, "Looking …"));
  const form = new ReplayForm(context, () => look());
  const said = h("p.said", { role: "status" });
  const look = watch(root, context, {
    path: "/replays",
    what: "replays",
    seconds: 2,
    show: (answer) => {
      if (!form.element.isConnected) root.prepend(form.element, said);
      show(list, items(answer), (job) => cancel(job, context, said, look));
      if (!list.isConnected) root.append(list);
    },
  });
}

async function cancel(job, context, said, look) {
  const sent = counted(job.sent, "event");
  const text = `${sent} of it ${job.sent === 1 ? "is" : "are"} in the log already and will be published.`;
  if (!(await context.confirm(`Cancel replay ${job.id}?`, text, "Cancel it", true))) return;
  try {
    await post(`/replays/${job.id}/cancel`, {});
    fill(said, `Replay ${job.id} is cancelled.`);
  } catch (error) {
    fill(said, error.message);
  }
  await look();
}

function show(list, jobs, cancelJob) {
  if (jobs.length === 0) {
    fill(list, nothing("No replay yet.", "Choose above which events a sink is to get again."));
    return;
  }
  const newest = [...jobs].sort((a, b) => b.id - a.id);
  const columns = [
    { title: "Replay", number: true, cell: ({ id }) => count(id) },
    { title: "Sink", cell: ({ sink }) => sink },
    { title: "Events", class: ".wide", cell: ({ events }) => chosen(events) },
    {
      title: "State",
      cell: (job) => [
        badge(STATES[job.state] ?? "idle", job.state),
        job.because || job.waits_for ? h("div.quiet", {}, job.because ?? `waits: ${job.waits_for}`) : "",
      ],
    },
    { title: "Looked through", class: ".nowrap", cell: progress },
    { title: "Sent", number: true, cell: (job) => count(job.sent) },
    { title: "Lost", number: true, class: ".minor", cell: ({ lost }) => count(lost) },
    { title: "Begun", number: true, class: ".minor", cell: ({ created }) => ago(created) },
    {
      title: "Actions",
      cell: (job) => (job.state === "running" ? button("Cancel", () => cancelJob(job), ".plain") : ""),
    },
  ];
  // A button that is redrawn while it is pressed would lose the press, so only what has changed is drawn.
  const drawn = JSON.stringify(newest);
  if (list.drawn === drawn) return;
  list.drawn = drawn;
  fill(list, table("Replays", columns, newest));
}

function chosen({ since, until, types = [], families = [], sources = [], ids = [] }) {
  const parts = [
    since ? `from ${date(since)}` : "",
    until ? `until ${date(until)}` : "",
    ...[types, families, sources].map((names) => names.join(", ")),
    ids.length > 0 ? counted(ids.length, "id") : "",
  ].filter(Boolean);
  return parts.join("; ") || "all that the log has";
}

function progress({ begun_at: first, read, end, state }) {
  const whole = Math.max(0, end - first);
  const part = whole === 0 || state === "done" ? 1 : Math.max(0, read - first) / whole;
  const bar = h("progress", {
    value: part,
    max: "1",
    "aria-label": "Part of the log that is looked through",
  });
  return [bar, ` ${Math.floor(part * 100)} %`];
}

/** Which events, to which sink, and how fast. */
class ReplayForm {
  constructor(context, changed) {
    Object.assign(this, { context, changed });
    this.sink = h("select", { name: "sink", required: true });
    this.said = h("div.said", { role: "status" });
    const field = (name, label, hint, kind = "text") =>
      h(
        "label.field",
        {},
        h("span", {}, label),
        h("input", { name, placeholder: hint, type: kind, autocomplete: "off" }),
      );
    const moment = (name, label) =>
      h("label.field", {}, h("span", {}, label), h("input", { name, type: "datetime-local", step: "1" }));
    this.form = h(
      "form.form-grid",
      {},
      h("label.field", {}, h("span", {}, "Sink"), this.sink),
      moment("since", "Arrived from (UTC)"),
      moment("until", "Arrived before (UTC)"),
      field("types", "Types, comma between", "all"),
      field("families", "Families", "all"),
      field("sources", "Sources", "all"),
      field("ids", "Ids", "all"),
      field("rate", "At most a second", "1000", "number"),
      h("div.actions", {}, h("button", { type: "submit" }, "Count …")),
    );
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin();
    });
    this.element = h(
      "section.panel",
      { "aria-label": "New replay" },
      h("h2", {}, "Send events again"),
      h(
        "p.quiet",
        {},
        "Copies go through the log to one sink alone, with the attribute replayid. Live events come first.",
      ),
      this.form,
      this.said,
    );
    context.status.addEventListener("read", () => this.fillSinks(), { signal: context.signal });
    this.fillSinks();
  }

  fillSinks() {
    const names = (this.context.status.newest?.sinks ?? []).map(({ name }) => name);
    const known = [...this.sink.options].map(({ value }) => value);
    if (names.join() !== known.join())
      fill(
        this.sink,
        names.map((name) => h("option", { value: name }, name)),
      );
  }

  wanted() {
    const value = (name) => this.form.elements[name].value.trim();
    const listed = (name) =>
      value(name)
        .split(",")
        .map((text) => text.trim())
        .filter(Boolean);
    const moment = (name) => (value(name) ? new Date(`${value(name)}Z`).toISOString() : undefined);
    const events = { since: moment("since"), until: moment("until") };
    for (const name of ["types", "families", "sources", "ids"]) {
      if (listed(name).length > 0) events[name] = listed(name);
    }
    const rate = value("rate") ? { rate: Number(value("rate")) } : {};
    return { sink: value("sink"), events, ...rate };
  }

  async begin() {
    const wanted = this.wanted();
    const submit = this.form.querySelector("button");
    submit.disabled = true;
    try {
      fill(this.said, "Counting …");
      const counted = await this.count(wanted);
      fill(this.said);
      if (!(await this.ask(wanted, counted))) return;
      const job = await post("/replays", wanted);
      fill(this.said, `Replay ${job.id} has begun.`);
      await this.changed();
    } catch (error) {
      fill(this.said, error.message);
    } finally {
      submit.disabled = false;
    }
  }

  /** Counts on until all of the log has been looked through. */
  async count(wanted) {
    const sum = { events: 0, not_selected: 0, lost: 0, types: {} };
    for (let after; ;) {
      const page = await post("/replays", { ...wanted, dry_run: true, ...(after ? { after } : {}) });
      sum.events += page.events;
      sum.not_selected += page.not_selected;
      sum.lost += page.lost;
      for (const [type, number] of Object.entries(page.types)) {
        sum.types[type] = (sum.types[type] ?? 0) + number;
      }
      if (page.complete || !(page.through > (after ?? 0))) return sum;
      after = page.through;
      fill(this.said, `Counting: ${count(sum.events)} events up to position ${count(after)} …`);
    }
  }

  ask(wanted, { events, not_selected: others, lost, types }) {
    const most = Object.entries(types)
      .sort((a, b) => b[1] - a[1])
      .slice(0, TYPES_SHOWN);
    const parts = most.map(([type, number]) => `${type} ${count(number)}`).join(", ");
    const more = others > 0 ? ` ${count(others)} more are of types that the sink does not select.` : "";
    const gone = lost > 0 ? ` ${counted(lost, "entry", "entries")} of the log can no longer be read.` : "";
    const speed = rate(wanted.rate ?? 1000);
    return this.context.confirm(
      `Send ${counted(events, "event")} to ${wanted.sink} again?`,
      `${parts ? `${parts}. ` : ""}At most ${speed}; its consumers get them a second time.${more}${gone}`,
      `Send ${count(events)}`,
    );
  }
}
