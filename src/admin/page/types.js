// The event types that have come, with what needs a decision on top.

import { items } from "./api.js";
import { badge, fill, h, nothing, table } from "./dom.js";
import { ago, capital, count, counted } from "./format.js";
import { watch } from "./watched.js";

export const title = "Types";

const SHOWN_MAX = 500;
const VERDICTS = ["accepted", "filtered", "duplicate", "quarantined"];

export function mount(root, context) {
  const filter = h("input", { type: "search", placeholder: "a part of its name", autocomplete: "off" });
  const list = h("div.panel", {}, h("p.quiet", {}, "Looking …"));
  let types = null;
  const draw = () => types && show(list, types, filter.value.trim().toLowerCase());
  filter.addEventListener("input", draw);
  context.keys({ "/": () => filter.focus() });
  root.append(h("div.bar", {}, h("label.field", {}, h("span", {}, "Type"), filter)), list);
  watch(root, context, {
    path: "/types",
    what: "the types that have come",
    seconds: 5,
    absent: () => list.remove(),
    show: (answer) => {
      types = items(answer);
      draw();
    },
  });
}

function show(list, types, wanted) {
  if (types.length === 0) {
    const send = h("code", {}, "fanbridge send SOURCE TYPE");
    fill(
      list,
      nothing(
        "No event has come yet.",
        "Send one: ",
        send,
        ". Known types: ",
        h("code", {}, "fanbridge types"),
      ),
    );
    return;
  }
  const found = types.filter(({ type }) => type.toLowerCase().includes(wanted));
  const shown = found.slice(0, SHOWN_MAX);
  const unselected = types.filter(isOpen).length;
  fill(
    list,
    h(
      "div.panel-head",
      {},
      h(
        "p",
        {},
        counted(types.length, "type"),
        unselected > 0 ? ", " : "",
        unselected > 0 ? badge("warn", `${count(unselected)} new and selected by no sink`) : "",
      ),
      found.length > shown.length
        ? h("p.quiet", {}, `${count(shown.length)} of ${count(found.length)} are shown`)
        : "",
    ),
    shown.length > 0 ? table("Event types", COLUMNS, shown) : nothing("No type has this in its name."),
  );
}

const isOpen = (row) => row.new && (row.selected_by ?? []).length === 0;
const numberOf = (row, verdict) => (row.verdicts ?? row)[verdict] ?? 0;

const COLUMNS = [
  {
    title: "Type",
    class: ".wide",
    cell: (row) => [
      h("a", { href: `#/events?${new URLSearchParams({ type: row.type })}` }, row.type),
      " ",
      mark(row),
    ],
  },
  {
    title: "Selected by",
    cell: ({ selected_by: by }) => (by?.length ? by.join(", ") : h("span.quiet", {}, "no sink")),
  },
  { title: "Provider", class: ".minor", cell: ({ provider }) => provider },
  ...VERDICTS.map((word) => ({
    title: capital(word),
    number: true,
    cell: (row) => (numberOf(row, word) > 0 ? count(numberOf(row, word)) : ""),
  })),
  { title: "First", class: ".minor", number: true, cell: (row) => ago(row.first_seen ?? row.first) },
  { title: "Last", number: true, cell: (row) => ago(row.last_seen ?? row.last) },
];

function mark(row) {
  if (isOpen(row)) return badge("warn", "new, not selected");
  return row.new ? badge("idle", "new") : "";
}
