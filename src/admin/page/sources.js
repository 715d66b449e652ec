// The sources: what they took in, what they refused, and which secrets verify.

import { items } from "./api.js";
import { badge, facts, fill, h, nothing, table } from "./dom.js";
import { capital, count, rate, words } from "./format.js";
import { plots } from "./history.js";
import { milliseconds } from "./sinks.js";
import { watch } from "./watched.js";

export const title = "Sources";

const VERDICTS = ["accepted", "filtered", "duplicate", "quarantined", "refused"];

export function mount(root, context) {
  const list = h("div.cards");
  watch(root, context, {
    path: "/sources",
    what: "a list of its sources",
    show: (answer) => {
      const sources = items(answer);
      const next = "Add one under `sources:`; `fanbridge init` writes a configuration to begin with.";
      fill(list, sources.length > 0 ? sources.map(card) : nothing("No source is configured.", next));
    },
  });
  root.append(list);
  plots(root, context, ["verdicts", "ack"]);
}

function card(source) {
  const verdicts = { ...source.verdicts, refused: sum(source.refused) };
  const state = source.degraded_because ? badge("bad", "cannot receive") : badge("good", "receiving");
  const numbers = VERDICTS.map((word) =>
    h(
      "div",
      {},
      h("dt", {}, capital(word)),
      h("dd", {}, count(verdicts[word]), h("div.small", {}, rate(source.rate?.[`${word}_per_second`]))),
    ),
  );
  return h(
    "section.panel",
    { "aria-label": `Source ${source.name}` },
    h("div.panel-head", {}, h("h2", {}, source.name, " ", state)),
    h("p.quiet", {}, `${source.kind ?? ""} · ${source.provider} · `, h("code", {}, source.event_source)),
    source.degraded_because ? h("p.note", {}, source.degraded_because) : "",
    h("dl.numbers", {}, numbers),
    refusals(source),
    secrets(source.secrets ?? []),
    facts([
      ["Answered in", `p50 ${milliseconds(source.ack_ms?.p50)}, p99 ${milliseconds(source.ack_ms?.p99)}`],
      ["Without a key", source.without_key > 0 ? count(source.without_key) : undefined],
      ["Ids used twice", source.id_reuse > 0 ? count(source.id_reuse) : undefined],
      [
        "Events",
        h("a", { href: `#/events?${new URLSearchParams({ source: source.name })}` }, "those of this source"),
      ],
    ]),
  );
}

const sum = (counts) => Object.values(counts ?? {}).reduce((all, number) => all + number, 0);

function refusals(source) {
  const rows = Object.entries(source.refused ?? {}).filter(([, number]) => number > 0);
  if (rows.length === 0) return "";
  return table(
    `Refusals of ${source.name}`,
    [
      { title: "Refused because", cell: ([reason]) => words(reason) },
      { title: "Deliveries", number: true, cell: ([, number]) => count(number) },
    ],
    rows.sort((a, b) => b[1] - a[1]),
  );
}

function secrets(list) {
  if (list.length === 0) return "";
  return table(
    "Secrets",
    [
      { title: "Secret", cell: ({ name }) => h("code", {}, name) },
      { title: "Deliveries it verified", number: true, cell: ({ deliveries }) => count(deliveries) },
    ],
    list,
  );
}
