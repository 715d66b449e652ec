// The sinks: how they are, what they hold, and the switch that pauses them.

import { Absent, Problem, items, post } from "./api.js";
import { badge, button, facts, fill, h, nothing, table } from "./dom.js";
import { ago, count, counted, period, rate, words } from "./format.js";
import { plots } from "./history.js";
import { watch } from "./watched.js";

export const title = "Sinks";

const STATES = {
  idle: ["good", "up to date"],
  delivering: ["good", "delivering"],
  starting: ["wait", "starting"],
  held: ["warn", "holds topics"],
  paused: ["warn", "paused"],
  degraded: ["bad", "in trouble"],
};

export function mount(root, context) {
  const cards = new Map();
  const list = h("div.cards");
  const look = watch(root, context, {
    path: "/sinks",
    what: "a list of its sinks",
    show: (answer) => {
      const sinks = items(answer);
      for (const sink of sinks) {
        if (!cards.has(sink.name)) {
          cards.set(sink.name, new Card(sink.name, context, () => look()));
          list.append(cards.get(sink.name).element);
        }
        cards.get(sink.name).show(sink);
      }
      for (const [name, card] of cards) {
        if (sinks.some((sink) => sink.name === name)) continue;
        card.element.remove();
        cards.delete(name);
      }
      if (sinks.length === 0) fill(list, nothing("No sink is configured.", "Add one under `sinks:`."));
    },
  });
  root.append(list);
  plots(root, context, ["end_to_end", "lag", "retries"]);
}

class Card {
  constructor(name, context, changed) {
    Object.assign(this, { name, context, changed });
    this.state = h("span");
    this.topic = h("p.quiet");
    this.trouble = h("div");
    this.numbers = h("dl.numbers");
    this.held = h("div");
    this.more = h("div");
    this.said = h("p.said", { role: "status" });
    this.switch = button("Pause", () => this.toggle(), ".plain");
    this.element = h(
      "section.panel",
      { "aria-label": `Sink ${name}` },
      h("div.panel-head", {}, h("h2", {}, name, " ", this.state), this.switch),
      this.topic,
      this.trouble,
      this.numbers,
      this.held,
      h("details", {}, h("summary", {}, "More"), this.more),
      this.said,
    );
  }

  show(sink) {
    const known = this.context.status.newest?.sinks?.find(({ name }) => name === this.name);
    this.paused = sink.paused ?? known?.paused ?? null;
    const state = this.paused ? "paused" : sink.state;
    fill(this.state, badge(...(STATES[state] ?? ["warn", words(state)])));
    fill(this.topic, `${sink.kind} · `, h("code", {}, sink.topic));
    fill(this.trouble, this.paused ? pausedNote(this.paused) : "", trouble(sink.degraded_because));
    fill(this.switch, this.paused ? "Resume" : "Pause");
    fill(this.numbers, numbers(sink));
    fill(this.held, held(sink.held ?? []));
    fill(this.more, more(sink));
  }

  async toggle() {
    try {
      if (this.paused) await this.resume();
      else await this.pause();
    } catch (error) {
      fill(this.said, error instanceof Absent ? "This bridge cannot pause sinks." : error.message);
    }
    await this.changed();
  }

  async resume() {
    await post(`/sinks/${encodeURIComponent(this.name)}/resume`, {});
    fill(this.said, "Resumed: it goes on where it stopped.");
  }

  async pause() {
    const values = await this.context.question({
      title: `Pause ${this.name}?`,
      text:
        "It publishes nothing until it is resumed, also after a restart. Its events wait in the spool, " +
        "which can fill up.",
      label: "Pause it",
      fields: [{ name: "reason", label: "Reason, for whoever finds it paused", required: true }],
    });
    if (!values) return;
    const path = `/sinks/${encodeURIComponent(this.name)}/pause`;
    try {
      await post(path, values);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 409) throw error;
      const isSure = await this.context.confirm(
        `Pause ${this.name} all the same?`,
        error.message,
        "Pause it",
        true,
      );
      if (!isSure) return;
      await post(path, { ...values, force: true });
    }
    fill(this.said, "Paused.");
  }
}

const trouble = (because) => (because ? h("p.note", {}, because) : "");
const pausedNote = ({ since, reason }) =>
  h(
    "p.note",
    {},
    `Paused${since ? ` ${ago(since)}` : ""}${reason ? `: ${reason}` : ""}. Its events wait in the spool.`,
  );

function numbers(sink) {
  const lag = sink.lag_events ?? 0;
  const delivery = sink.delivery_ms ?? {};
  const rows = [
    ["Delivers", rate(sink.rate?.delivered_per_second), `${count(sink.delivered)} in all`],
    [
      "Behind",
      count(lag),
      sink.oldest_pending_seconds > 0 ? `oldest ${period(sink.oldest_pending_seconds)}` : "events",
    ],
    ["In flight", count(sink.in_flight), ""],
    ["End to end p50", milliseconds(delivery.p50), `p99 ${milliseconds(delivery.p99)}`],
    ["Dead letters", sink.dead_letters === undefined ? "unknown" : count(sink.dead_letters), ""],
  ];
  return rows.map(([name, value, small]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, value, small ? h("div.small", {}, small) : "")),
  );
}

export const milliseconds = (number) =>
  number === null || number === undefined ? "–" : period(number / 1000);

function held(list) {
  if (list.length === 0) return "";
  return table(
    "Held topics",
    [
      { title: "Held topic", cell: ({ topic }) => h("code", {}, topic) },
      {
        title: "Why",
        class: ".wide",
        cell: ({ reason, detail }) => [h("strong", {}, words(reason)), ` ${detail}`],
      },
      { title: "Attempt", number: true, cell: ({ attempt }) => count(attempt) },
      {
        title: "Next",
        number: true,
        cell: ({ next_in_ms: next }) =>
          next === null || next === undefined ? "now" : `in ${period(next / 1000)}`,
      },
    ],
    list,
  );
}

function more(sink) {
  const byReason = (reasons) => {
    const named = Object.entries(reasons ?? {}).filter(([, number]) => number > 0);
    return named.length > 0
      ? named.map(([reason, number]) => `${words(reason)} ${count(number)}`).join(", ")
      : "none";
  };
  return facts([
    ["Cursor", count(sink.cursor)],
    ["Retries", byReason(sink.retries)],
    ["Rejected", byReason(sink.rejected)],
    ["Possible duplicates", count(sink.possible_duplicates)],
    ["Missed", counted(sink.missed_records ?? 0, "record")],
    sink.answers
      ? ["Answers wait for it", `${count(sink.answers.waiting)} now, ${count(sink.answers.late)} were late`]
      : ["", ""],
    [
      "Events",
      h("a", { href: `#/events?${new URLSearchParams({ sink: sink.name })}` }, "those of this sink"),
    ],
  ]);
}
