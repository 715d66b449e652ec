// The sentence on top, and what every view knows of the bridge.

import { Absent, Silent, ask, get } from "./api.js";
import { fill, h, say, shown } from "./dom.js";
import { count, counted, period } from "./format.js";

const EVERY_SECONDS = 2;

let isFormer = false;

/** Looks at the status again and again; views listen to what is found. */
export function watchStatus(every) {
  const status = Object.assign(new EventTarget(), { newest: null });
  const sentence = new Sentence();
  every(EVERY_SECONDS, async () => {
    try {
      status.newest = await read();
      sentence.show(judge(status.newest), status.newest.sentence ?? spoken(status.newest));
      footer(status.newest);
      counts(status.newest);
    } catch (error) {
      sentence.failed(error);
    }
    status.dispatchEvent(new Event("read"));
  });
  return status;
}

/** The status; of a bridge without this version of the API the former one. */
async function read() {
  try {
    if (!isFormer) return await get("/status");
  } catch (error) {
    if (!(error instanceof Absent)) throw error;
    isFormer = true;
  }
  return (await ask("/api/status")).json();
}

/** How things are, in one word of three. */
export function judge(status) {
  const sinks = status.sinks ?? [];
  const degraded = [...sinks, ...(status.sources ?? [])].some((part) => part.degraded_because);
  if (status.ready === false) return "bad";
  const isPaused = sinks.some((sink) => sink.paused);
  return degraded || isPaused || status.no_room || sinks.some((sink) => sink.oldest_pending_seconds >= 60)
    ? "warn"
    : "good";
}

/** The sentence of a bridge that says none. */
function spoken(status) {
  if (status.ready === false) return `Not accepting: ${status.unready_because}.`;
  const behind = (status.sinks ?? []).filter((sink) => sink.degraded_because);
  if (behind.length > 0) {
    const [sink] = behind;
    return `${sink.name} is ${period(sink.oldest_pending_seconds)} behind: ${sink.degraded_because}`;
  }
  const late = (status.sinks ?? []).filter((sink) => sink.lag_events > 0);
  const lag =
    late.length === 0
      ? "every sink is up to date"
      : late.map((sink) => `${sink.name} is ${counted(sink.lag_events, "event")} behind`).join(", ");
  return `Accepting; ${lag}; ${count((status.spool ?? {}).head)} events so far.`;
}

class Sentence {
  constructor() {
    this.element = document.getElementById("sentence");
    this.spoken = document.getElementById("spoken");
  }

  show(state, text) {
    this.since = null;
    this.write(state, text);
  }

  failed(error) {
    if (error instanceof Silent) {
      this.since ??= Date.now();
      const silent = Math.round((Date.now() - this.since) / 1000);
      this.write("bad", `The bridge does not answer${silent > 0 ? `, for ${period(silent)} now` : ""}.`);
      return;
    }
    const isAsked = error.status === 401;
    this.write(isAsked ? "warn" : "bad", isAsked ? "This bridge asks for its token." : error.message);
  }

  write(state, text) {
    this.element.title = shown(text);
    const glyph = { good: "●", warn: "▲", bad: "✕" }[state];
    if (this.state !== state) {
      this.element.setAttribute("class", `sentence ${state}`);
      fill(this.element, h("span.glyph", { "aria-hidden": "true" }, glyph), " ", h("span", {}, text));
      say(this.spoken, text);
      this.state = state;
    } else {
      say(this.element.lastElementChild, text);
    }
  }
}

function footer(status) {
  const parts = [
    `fanbridge ${status.version ?? ""}`,
    status.uptime_seconds === undefined ? "" : `up ${period(status.uptime_seconds)}`,
    status.fingerprint ? `configuration ${status.fingerprint}` : "",
    "times are UTC",
  ];
  say(document.getElementById("footer"), parts.filter(Boolean).join(" · "));
}

function counts(status) {
  const dead = (status.dead_letters ?? []).reduce((sum, row) => sum + (row.count ?? row.letters ?? 0), 0);
  const badge = document.querySelector('#tabs a[data-view="dead"] .count');
  if (!badge) return;
  badge.hidden = dead === 0;
  say(badge, ` ${count(dead)}`);
}
