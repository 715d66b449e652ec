// The configuration that counts: every value, and where it is written.

import { fill, h, nothing, table } from "./dom.js";
import { count, counted, date } from "./format.js";
import { watch } from "./watched.js";

export const title = "Configuration";

const DEFAULT = "default";
const ROWS_MAX = 1000;

export function mount(root, context) {
  const filter = h("input", { type: "search", placeholder: "key or value", autocomplete: "off" });
  const written = h("input", { type: "checkbox" });
  const list = h("div.view", {}, h("p.quiet", {}, "Looking …"));
  let answer = null;
  const draw = () => answer && show(list, answer, filter.value.trim().toLowerCase(), written.checked);
  filter.addEventListener("input", draw);
  written.addEventListener("change", draw);
  context.keys({ "/": () => filter.focus() });
  root.append(
    h(
      "div.bar",
      {},
      h(
        "div.filters",
        {},
        h("label.field", {}, h("span", {}, "Find"), filter),
        h("label.check", {}, written, "without defaults"),
      ),
    ),
    list,
  );
  watch(root, context, {
    path: "/configuration",
    what: "its configuration",
    seconds: 15,
    show: (newest) => {
      const isSame = JSON.stringify(newest) === JSON.stringify(answer);
      answer = newest;
      if (!isSame) draw();
    },
    absent: () => list.remove(),
  });
}

function show(list, answer, wanted, writtenOnly) {
  const { values, origins = {}, fingerprint } = answer;
  const rows = leaves(values, "").map(([path, value]) => ({ path, value, origin: origins[path] ?? "" }));
  const passes = ({ path, value, origin }) =>
    (!writtenOnly || origin !== DEFAULT) && `${path} ${value}`.toLowerCase().includes(wanted);
  const found = rows.filter(passes).slice(0, ROWS_MAX);
  const blocks = Map.groupBy(found, ({ path }) => path.split(".")[0]);
  const head = h(
    "p.quiet",
    {},
    `${counted(found.length, "value")} of ${count(rows.length)}, configuration `,
    h("code", {}, fingerprint),
    answer.since ? ` since ${date(answer.since)}` : "",
    ". Secrets are shown as the references that lead to them.",
  );
  fill(
    list,
    head,
    answer.last_reload ? lastReload(answer.last_reload) : "",
    found.length === 0 ? h("div.panel", {}, nothing("No key or value has this in it.")) : "",
    [...blocks].map(([block, inside]) =>
      h("section.panel.config", {}, h("h2", {}, block), table(block, columnsOf(block), inside)),
    ),
  );
}

/** What became of it when the file was last read again. */
function lastReload({ at, by, result, detail }) {
  const asked = { api: "by the API", signal: "by SIGHUP", file: "because the file changed" }[by] ?? by;
  const ended = result.replaceAll("_", " ");
  const words = `The file was last read again at ${date(at)}, ${asked} (${ended}): ${detail}.`;
  return h("p.quiet", {}, words);
}

const columnsOf = (block) => [
  { title: "Key", class: ".wide", cell: ({ path }) => h("code", {}, path.slice(block.length + 1) || block) },
  { title: "Value", class: ".wide", cell: ({ value }) => h("code", {}, value) },
  {
    title: "Where",
    class: ".origin",
    cell: ({ origin }) => (origin === DEFAULT ? h("span.quiet", {}, DEFAULT) : h("code", {}, origin)),
  },
];

/** Each value with its path; a list is one value. */
function leaves(value, path) {
  const isBlock = value !== null && typeof value === "object" && !Array.isArray(value);
  if (!isBlock || Object.keys(value).length === 0) return [[path, written(value)]];
  return Object.entries(value).flatMap(([key, inside]) => leaves(inside, path ? `${path}.${key}` : key));
}

function written(value) {
  if (Array.isArray(value)) return `[${value.map(written).join(", ")}]`;
  return typeof value === "string" ? value : JSON.stringify(value);
}
