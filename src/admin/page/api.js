// Asks the bridge. Everything goes to the origin of the page; the token is sent in a header only.

const TOKEN = "fanbridge.token";
const TIMEOUT_MS = 30_000;

/** What the bridge answered instead of what was asked for. */
export class Problem extends Error {
  constructor(status, detail, code) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** A route that this bridge does not have. */
export class Absent extends Problem {}

/** The bridge did not answer at all. */
export class Silent extends Error {}

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? "",
  set: (text) => (text ? sessionStorage.setItem(TOKEN, text) : sessionStorage.removeItem(TOKEN)),
};

/** Told when the bridge asks for a token. */
export const access = new EventTarget();

export function headers(more) {
  const secret = token.get();
  return { ...(secret ? { authorization: `Bearer ${secret}` } : {}), ...more };
}

/** An answer that is not yet read. Throws what is wrong with it. */
export async function ask(path, options = {}) {
  let answer;
  const ends = [AbortSignal.timeout(options.timeout ?? TIMEOUT_MS), options.signal].filter(Boolean);
  const signal = options.timeout === null ? options.signal : AbortSignal.any(ends);
  try {
    answer = await fetch(path, { cache: "no-store", ...options, signal, headers: headers(options.headers) });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Silent("The bridge does not answer.", { cause: error });
  }
  if (answer.ok) return answer;
  throw await problem(answer);
}

async function problem(answer) {
  let document = {};
  try {
    document = await answer.json();
  } catch {
    // A proxy in between answers in its own words.
  }
  const { detail, code } = document;
  if (answer.status === 401) access.dispatchEvent(new Event("needed"));
  const nowhere =
    answer.status === 404 && (code ? code === "no_such_path" : /nothing at this path/.test(detail));
  const said = detail ?? `The bridge answered ${answer.status}.`;
  return nowhere ? new Absent(404, said, code) : new Problem(answer.status, said, code);
}

export async function get(path, options) {
  return (await ask(`/api/v1${path}`, options)).json();
}

/** A change: with the header that no page of another origin can send. */
export async function post(path, body, options) {
  const sent = { "content-type": "application/json", "x-fanbridge-request": "1" };
  const answer = await ask(`/api/v1${path}`, {
    ...options,
    method: "POST",
    headers: sent,
    body: JSON.stringify(body ?? {}),
  });
  const text = await answer.text();
  return text ? JSON.parse(text) : {};
}

/** The rows of an answer, whether it is a list or has one. */
export const items = (answer) => (Array.isArray(answer) ? answer : (answer?.items ?? []));

/** `?a=1&b=2` of what has a value. */
export function query(values) {
  const kept = Object.entries(values).filter(
    ([, value]) => value !== undefined && value !== null && value !== "",
  );
  return kept.length > 0 ? `?${new URLSearchParams(kept)}` : "";
}

/** Waits so long, or until the signal ends it. */
export function pause(milliseconds, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, milliseconds);
    const end = () => {
      clearTimeout(timer);
      done();
    };
    signal.addEventListener("abort", end, { once: true });
  });
}
