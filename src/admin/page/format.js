// How numbers and moments are written. Moments are UTC, as in the log and on the command line.

const WHOLE = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en-GB", { maximumSignificantDigits: 2 });

/** `12,345` */
export const count = (number) => WHOLE.format(number ?? 0);

/** `1 dead letter`, `2 dead letters` */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** `412/s`, `0.25/s` */
export function rate(number) {
  if (!(number > 0)) return "0/s";
  if (number < 0.01) return "<0.01/s";
  return `${number >= 10 ? WHOLE.format(number) : SHORT.format(number)}/s`;
}

/** `3.2 MiB` */
export function bytes(number) {
  if (number === undefined || number === null) return "";
  let [amount, unit] = [number, 0];
  while (amount >= 1024 && unit < 5) [amount, unit] = [amount / 1024, unit + 1];
  const digits = unit > 0 && amount < 10 ? 1 : 0;
  return `${amount.toFixed(digits)} ${["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"][unit]}`;
}

/** `4 m 10 s`, `3 d 2 h`; below ten seconds with a tenth. */
export function period(seconds) {
  if (seconds === undefined || seconds === null || Number.isNaN(seconds)) return "";
  if (seconds <= 0) return "0\u00a0s";
  if (seconds < 0.0095) return `${SHORT.format(seconds * 1000)}\u00a0ms`;
  if (seconds < 1) return `${WHOLE.format(seconds * 1000)}\u00a0ms`;
  if (seconds < 10) return `${seconds.toFixed(1)}\u00a0s`;
  const whole = Math.round(seconds);
  const parts = [
    ["d", 86400],
    ["h", 3600],
    ["m", 60],
    ["s", 1],
  ];
  const first = parts.findIndex(([, size]) => whole >= size);
  const [name, size] = parts[first];
  const rest = parts[first + 1];
  const tail = rest ? Math.floor((whole % size) / rest[1]) : 0;
  return `${count(Math.floor(whole / size))}\u00a0${name}${tail > 0 ? `\u00a0${tail}\u00a0${rest[0]}` : ""}`;
}

/** `14:09:39.120` of an RFC 3339 moment. */
export function clock(moment) {
  const time = String(moment ?? "").match(/T(\d\d:\d\d:\d\d)(?:\.(\d+))?/);
  return time ? `${time[1]}.${(time[2] ?? "").padEnd(3, "0").slice(0, 3)}` : String(moment ?? "");
}

/** `2026-11-29 14:09:39` of an RFC 3339 moment. */
export function date(moment) {
  const time = String(moment ?? "").match(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)/);
  return time ? `${time[1]} ${time[2]}` : String(moment ?? "");
}

/** `2 m ago` */
export function ago(moment) {
  const then = Date.parse(moment);
  return Number.isNaN(then) ? "" : `${period(Math.max(0, Math.round((Date.now() - then) / 1000)))} ago`;
}

/** The first twelve characters of an id, as the command line writes it. */
export const shortId = (id) =>
  String(id ?? "")
    .replace(/^sha256-/, "")
    .slice(0, 12);

/** `p3@99120`, `00000001.jsonl@1234` or the beginning of a message's id. */
export function placed(placement) {
  if (!placement) return "";
  if (placement.partition !== undefined) return `p${placement.partition}@${placement.offset}`;
  if (placement.file !== undefined) return `${placement.file}@${placement.offset}`;
  return shortId(placement.message);
}

/** The same in a list, where the file's name would take the room of another sink. */
export const placedShort = (placement) =>
  placement?.file === undefined ? placed(placement) : `@${placement.offset}`;

/** A word of the API as people write it: `not_on_list` becomes `not on list`. */
export const words = (word) => String(word ?? "").replaceAll("_", " ");

/** The word as it begins a line. */
export const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);
