// Reads the bridge's metrics, so that the page and Prometheus have the same numbers.

import { ask } from "./api.js";

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** All samples by the metric's name, without the prefix: lists of `{ labels, value }`. */
export async function metrics(options) {
  const answer = await ask("/metrics", { ...options, headers: { accept: "text/plain" } });
  return parse(await answer.text());
}

export function parse(text) {
  const found = {};
  for (const line of text.split("\n")) {
    const parts = line.startsWith("#") ? null : line.match(LINE);
    if (!parts) continue;
    const name = parts[1].replace(/^fanbridge_/, "");
    const labels = {};
    for (const [, label, value] of (parts[2] ?? "").matchAll(LABEL)) {
      labels[label] = value.replace(/\\(.)/g, (_, character) => (character === "n" ? "\n" : character));
    }
    (found[name] ??= []).push({ labels, value: Number(parts[3]) });
  }
  return found;
}

/** How fast counters grow, over the last seconds. */
export class Rates {
  constructor(seconds = 10) {
    this.window = seconds * 1000;
    this.kept = [];
  }

  /** Takes the counters of now, by any key. */
  take(values) {
    const now = performance.now();
    this.kept.push({ now, values });
    while (this.kept.length > 2 && now - this.kept[1].now >= this.window) this.kept.shift();
  }

  /** How much a second; undefined until it is known. A counter that fell began again at 0. */
  of(key) {
    const [first, last] = [this.kept[0], this.kept.at(-1)];
    if (!first || first === last) return undefined;
    const grown = (last.values.get(key) ?? 0) - (first.values.get(key) ?? 0);
    return (grown < 0 ? last.values.get(key) : grown) / ((last.now - first.now) / 1000);
  }
}
