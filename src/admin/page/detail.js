// What became of one delivery: its timeline, why it is so, and what to do.

import { Absent, get, items, post, query } from "./api.js";
import { badge, button, facts, fill, h } from "./dom.js";
import { bytes, clock, count, date, period, placed, shortId, words } from "./format.js";

const STANDING = {
  delivered: "good",
  delivered_before: "good",
  not_selected: "idle",
  copy_for_another: "idle",
  pending: "wait",
  held: "warn",
  paused: "warn",
  unknown: "warn",
  dead_letter: "bad",
  missed: "bad",
  sink_gone: "bad",
};

export class Detail {
  /** `closed` is called when it closes, to give the focus back. */
  constructor(context, closed) {
    Object.assign(this, { context, closed });
    this.heading = h("h2", { tabindex: "-1", id: "detail-title" });
    this.close = h("button.plain", { type: "button", "aria-label": "Close the event" }, "Close");
    this.close.addEventListener("click", () => this.shut());
    this.body = h("div.detail-body");
    this.element = h(
      "aside.detail",
      { hidden: true, "aria-labelledby": "detail-title" },
      h("div.detail-head", {}, this.heading, this.close),
      this.body,
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.shut();
    });
  }

  async open(row) {
    this.row = row;
    this.version = row.version;
    this.element.hidden = false;
    fill(this.heading, row.type || words(row.word), row.id ? h("code.quiet", {}, shortId(row.id)) : "");
    fill(this.body, h("p.quiet", {}, "Looking it up …"));
    this.heading.focus({ preventScroll: false });
    await this.load(row);
  }

  /** Looks again if the row has changed since. */
  refresh() {
    if (this.element.hidden || !this.row || this.row.version === this.version) return;
    this.version = this.row.version;
    this.load(this.row);
  }

  shut() {
    if (this.element.hidden) return;
    this.element.hidden = true;
    this.row = null;
    this.closed();
  }

  async load(row) {
    const { signal } = this.context;
    const asked = row.id || (row.step.request ? `request:${row.step.request}` : "");
    const steps = row.id ? this.steps(row, signal) : [row.step];
    const parts = await Promise.all([asked ? this.explained(asked, row, signal) : null, steps]);
    if (this.row !== row) return;
    const [explanation, known] = parts;
    fill(
      this.body,
      why(explanation),
      timeline(known),
      sinks(explanation),
      attributes(row, explanation),
      refusal(row.step),
      command(explanation),
      this.payload(row, explanation),
      this.again(row, explanation),
    );
  }

  async explained(asked, row, signal) {
    try {
      return await get(`/events/${encodeURIComponent(asked)}${query({ source: row.source })}`, { signal });
    } catch (error) {
      return { failed: error instanceof Absent ? "This bridge does not offer explanations." : error.message };
    }
  }

  async steps(row, signal) {
    try {
      return items(await get(`/events${query({ id: row.id, limit: 200 })}`, { signal }));
    } catch {
      return [row.step];
    }
  }

  /** Shows the body, where the bridge is allowed to. */
  payload(row, explanation) {
    if (!explanation?.event) return "";
    const place = h("div", { role: "status" });
    const show = async () => {
      try {
        const path = `/events/${encodeURIComponent(row.id)}${query({ source: row.source, payload: 1 })}`;
        const { data, data_base64: encoded } = await get(path, { signal: this.context.signal });
        const text = data === undefined ? encoded : JSON.stringify(data, null, 2);
        const body = h("pre.payload", { tabindex: "0", role: "region", "aria-label": "Body" }, text ?? "");
        fill(place, text === undefined ? "The log no longer has its body." : body);
      } catch (error) {
        fill(place, error.message);
      }
    };
    return h(
      "section",
      {},
      h("h3", {}, "Body"),
      h("div.actions", {}, button("Show it", show, ".plain")),
      place,
    );
  }

  /** Sends the event to a sink once more: a replay of one event. */
  again(row, explanation) {
    const names = (explanation?.sinks ?? [])
      .filter(({ state }) => state.startsWith("delivered"))
      .map(({ sink }) => sink);
    if (names.length === 0) return "";
    const said = h("p.said", { role: "status" });
    const send = async (sink) => {
      try {
        const wanted = { sink, events: { ids: [row.id] } };
        const counted = await post("/replays", { ...wanted, dry_run: true });
        const number = counted.events;
        const goes = number === 1 ? "event goes" : "events go";
        const isSure = await this.context.confirm(
          `Send this event to ${sink} again?`,
          `${count(number)} ${goes} through the log to this sink alone. Its consumers get it a second time.`,
          "Send again",
        );
        if (!isSure) return;
        const job = await post("/replays", wanted);
        fill(said, "It is on its way: ", h("a", { href: "#/replays" }, `replay ${job.id ?? ""}`), ".");
      } catch (error) {
        fill(said, error instanceof Absent ? "This bridge does not offer replays." : error.message);
      }
    };
    return h(
      "section",
      {},
      h("h3", {}, "Send again"),
      h(
        "div.actions",
        {},
        names.map((sink) => button(`to ${sink}`, () => send(sink), ".plain")),
      ),
      said,
    );
  }
}

function why(explanation) {
  if (!explanation) return "";
  if (explanation.failed) return h("p.note", {}, explanation.failed);
  return h(
    "section.why",
    {},
    h("p.cause", {}, explanation.cause),
    explanation.fix ? h("p.fix", {}, h("strong", {}, "To do: "), explanation.fix) : "",
    explanation.found === "several" ? candidates(explanation.candidates) : "",
  );
}

const candidates = (list) =>
  h(
    "ul",
    {},
    (list ?? []).map(({ id, source, type, at }) =>
      h("li", {}, h("code", {}, shortId(id)), ` ${type ?? ""} of ${source}${at ? `, ${date(at)}` : ""}`),
    ),
  );

function timeline(steps) {
  const first = Date.parse(steps[0]?.at);
  const line = (step) => {
    const word = step.step === "taken" ? step.verdict : step.step;
    const later = Date.parse(step.at) - first;
    return h(
      "li",
      {},
      h("time", { datetime: step.at, title: step.at }, clock(step.at)),
      h("span.offset", {}, later > 0 ? `+${period(later / 1000)}` : ""),
      h("span", {}, h("strong", {}, word), " ", told(step)),
    );
  };
  const lines = steps.length > 0 ? steps.map(line) : h("li.quiet", {}, "Its steps are no longer in memory.");
  return h("section", {}, h("h3", {}, "Timeline"), h("ol.timeline", {}, lines));
}

function told(step) {
  const tries = step.attempts > 1 ? `, ${count(step.attempts)} attempts` : "";
  switch (step.step) {
    case "taken": {
      const place = step.position ? `, position ${count(step.position)}` : "";
      const decided = words(step.reason || step.decided_by);
      return `by ${step.source}: ${decided}${place}, in ${period(step.taken_us / 1e6)}`;
    }
    case "refused":
      return `with ${step.status}: ${words(step.reason)}`;
    case "unanswered":
      return `after ${period(step.waited_ms / 1000)}: the sender was gone before there was an answer`;
    case "published": {
      const kind = step.replay ? ", a replay" : "";
      return `to ${step.sink}: ${step.topic} ${placed(step.placement)}${tries}${kind}`;
    }
    case "held": {
      const waiting = `${count(step.records)} waiting`;
      return `by ${step.sink}: ${step.topic}, ${words(step.reason)}, ${waiting}. ${step.detail}`;
    }
    default:
      return `by ${step.sink}: ${step.topic}, ${words(step.reason)}${tries}. ${step.detail ?? ""}`;
  }
}

function sinks(explanation) {
  if (!explanation?.sinks?.length) return "";
  const place = (sink) => placed(sink.partition !== undefined || sink.file ? sink : sink.message && sink);
  const line = (sink) =>
    h(
      "li",
      {},
      h(
        "div.sink-line",
        {},
        h("strong", {}, sink.sink),
        badge(STANDING[sink.state] ?? "idle", words(sink.state)),
      ),
      sink.topic ? h("div", {}, h("code", {}, `${sink.topic} ${place(sink)}`)) : "",
      [sink.rule && `selection: ${sink.rule}`, sink.reason && words(sink.reason), sink.detail]
        .filter(Boolean)
        .map((text) => h("div.quiet", {}, text)),
      sink.dead_letter
        ? h("div", {}, h("a", { href: "#/dead" }, `dead letter ${count(sink.dead_letter)}`))
        : "",
    );
  return h("section", {}, h("h3", {}, "Sinks"), h("ul.sink-list", {}, explanation.sinks.map(line)));
}

function attributes(row, explanation) {
  const event = explanation?.event ?? {};
  const { step } = row;
  const rows = [
    ["Id", code(event.id ?? row.id)],
    ["Source", code(event.source ?? step.event_source)],
    ["Type", code(event.type ?? row.type)],
    ["Family", event.family ?? step.family],
    ["Taken in by", event.intake ?? row.source],
    ["Key", code(event.key ?? step.key)],
    ["Subject", code(event.subject)],
    ["Time", event.time],
    ["Arrived", event.arrived],
    ["Position", number(event.position ?? step.position)],
    ["Body", bytes(event.bytes ?? step.bytes)],
    ["SHA-256", code(event.sha256 ?? step.sha256)],
    ["Secret", code(step.secret)],
    ["Configuration", code(step.configuration)],
    ...Object.entries(event.extensions ?? {}).map(([name, value]) => [name, code(value)]),
  ];
  return row.word === "refused" || row.word === "held"
    ? ""
    : h("section", {}, h("h3", {}, "Attributes"), facts(rows));
}

const code = (text) => (text ? h("code", {}, text) : undefined);
const number = (value) => (value === undefined || value === null ? undefined : count(value));

function refusal(step) {
  if (step.step !== "refused") return "";
  return h(
    "section",
    {},
    h("h3", {}, "The request"),
    facts([
      ["Request", code(step.request)],
      ["Answer", String(step.status)],
      ["Reason", words(step.reason)],
      ["Body", bytes(step.bytes)],
      ["SHA-256", code(step.sha256)],
      ["Not noted", step.unsaid > 0 ? `${count(step.unsaid)} more refusals before it` : undefined],
    ]),
    h("h3", {}, "Headers, masked"),
    facts((step.headers ?? []).map(([name, value]) => [name, code(value)])),
    h(
      "p.quiet",
      {},
      "Record the delivery and run ",
      h("code", {}, "fanbridge verify"),
      " to learn why its signature does not match.",
    ),
  );
}

function command(explanation) {
  if (!explanation?.command) return "";
  return h(
    "section",
    {},
    h("h3", {}, "See it there"),
    h("pre.command", { tabindex: "0" }, explanation.command),
  );
}
