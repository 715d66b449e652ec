// Reads server-sent events by `fetch`: an `EventSource` can send no header, and so no token.

import { Problem, ask, pause, query } from "./api.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/**
 * Follows the steps behind a cursor until the signal ends it, and connects again as often as it must.
 * `told` has `steps(list)`, `skipped(count)`, `restarted()` and `state(word, detail)`.
 */
export async function follow(cursor, filter, signal, told) {
  let [next, wait] = [cursor, FIRST_WAIT_MS];
  while (!signal.aborted) {
    try {
      const answer = await ask(`/api/v1/events/stream${query({ ...filter, after: next ?? "now" })}`, {
        signal,
        timeout: null,
        headers: { accept: "text/event-stream" },
      });
      told.state("live");
      wait = FIRST_WAIT_MS;
      for await (const event of events(answer.body)) {
        if (event.id) next = event.id;
        hand(event, told);
      }
      if (!signal.aborted) told.state("waiting", "The bridge has closed the stream.");
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.status < 500) {
        told.state("refused", error.message);
        return;
      }
      told.state("waiting", error.message);
    }
    await pause(wait, signal);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }
}

function hand(event, told) {
  if (event.name === "steps") told.steps(JSON.parse(event.data));
  else if (event.name === "skipped") told.skipped(JSON.parse(event.data).count);
  else if (event.name === "restarted") told.restarted();
  else if (event.name === "end") told.state("waiting", "The bridge stops.");
}

/** The events of a body: lines of fields, ended by an empty line. */
export async function* events(body) {
  let [rest, event] = ["", { name: "message", data: "", id: "" }];
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const lines = (rest + value).split(/\r?\n/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (event.data) yield event;
          event = { name: "message", data: "", id: "" };
        } else {
          take(event, line);
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function take(event, line) {
  const colon = line.indexOf(":");
  if (colon <= 0) return;
  const [field, value] = [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
  if (field === "event") event.name = value;
  else if (field === "data") event.data += event.data ? `\n${value}` : value;
  else if (field === "id") event.id = value;
}
