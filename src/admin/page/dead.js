// The dead letters by cause, and the way back.

import { items, get, post, query } from "./api.js";
import { button, fill, h, nothing, say, table } from "./dom.js";
import { ago, bytes, count, counted, words } from "./format.js";
import { watch } from "./watched.js";

export const title = "Dead letters";

const PAGE = 1000;
const SHOWN = 50;

export function mount(root, context) {
  new DeadLetters(root, context);
}

class DeadLetters {
  constructor(root, context) {
    this.context = context;
    this.cards = new Map();
    this.said = h("p.said", { role: "status" });
    this.list = h("div.view");
    this.more = h("p.quiet");
    root.append(this.said, this.list, this.more);
    this.look = watch(root, context, {
      path: "/dead/groups",
      what: "dead letters by cause",
      seconds: 4,
      show: (answer) => this.show(items(answer), answer.ungrouped ?? 0),
    });
  }

  show(groups, ungrouped) {
    say(this.more, ungrouped > 0 ? `${counted(ungrouped, "dead letter")} more have other causes.` : "");
    if (groups.length === 0) {
      this.cards.clear();
      fill(
        this.list,
        h("div.panel", {}, nothing("No dead letter.", "Whatever a sink rejects for good comes here.")),
      );
      return;
    }
    if (this.cards.size === 0) fill(this.list);
    const keys = new Set();
    for (const group of groups) {
      const key = group.id;
      keys.add(key);
      if (!this.cards.has(key)) {
        this.cards.set(key, new Group(this));
        this.list.append(this.cards.get(key).element);
      }
      this.cards.get(key).show(group);
    }
    for (const [key, card] of this.cards) {
      if (keys.has(key)) continue;
      card.element.remove();
      this.cards.delete(key);
    }
  }

  /** Redrives what `wanted` says, after a question that has its number. */
  async redrive(wanted, what) {
    try {
      const found = await post("/dead/redrive", { ...wanted, dry_run: true });
      const letters = counted(found.count, "dead letter");
      const text = `${letters} ${found.count === 1 ? "goes" : "go"} through the log again, ${what}.`;
      if (!(await this.context.confirm(`Redrive ${letters}?`, text, `Redrive ${count(found.count)}`))) return;
      fill(this.said, told(await this.pages(wanted, found)));
    } catch (error) {
      fill(this.said, error.message);
    }
    await this.look();
  }

  /** Goes on until every letter that was counted has been tried. */
  async pages(wanted, { count: whole, through }) {
    if (wanted.ids) return post("/dead/redrive", wanted);
    const sum = { redriven: 0, already_delivered: 0, kept: [] };
    for (let after = 0; after < through;) {
      const report = await post("/dead/redrive", { ...wanted, after, through, limit: PAGE });
      sum.redriven += report.redriven ?? 0;
      sum.already_delivered += report.already_delivered ?? 0;
      sum.kept.push(...(report.kept ?? []));
      sum.stopped = report.stopped;
      if (report.stopped || !(report.last > after)) break;
      after = report.last;
      fill(this.said, `${count(sum.redriven)} of ${count(whole)} are on their way.`);
    }
    return sum;
  }

  /** Drops letters for good: `{ ids }` or `{ group }`. */
  async drop(wanted, number) {
    const letters = counted(number, "dead letter");
    const text = "Nobody can get them back: neither the sinks nor this page have them afterwards.";
    if (!(await this.context.confirm(`Drop ${letters} for good?`, text, `Drop ${count(number)}`, true)))
      return;
    try {
      const { dropped } = await post("/dead/drop", { ...wanted, confirm: number });
      fill(this.said, `${counted(dropped ?? number, "dead letter")} dropped.`);
    } catch (error) {
      fill(this.said, error.message);
    }
    await this.look();
  }
}

function told({ redriven, already_delivered: before, kept, stopped }) {
  const parts = [`${counted(redriven ?? 0, "dead letter")} redriven`];
  if (before > 0) parts.push(`${count(before)} had been delivered meanwhile`);
  if (kept?.length > 0) parts.push(`${count(kept.length)} kept: ${[...new Set(kept.map(why))].join(", ")}`);
  if (stopped) parts.push(`stopped early: ${stopped}; the others are unchanged`);
  return `${parts.join("; ")}.`;
}

const why = ({ reason }) => words(reason);

class Group {
  constructor(view) {
    this.view = view;
    this.head = h("div");
    this.letters = h("div");
    this.details = h("details", {}, h("summary", {}, "Its letters"), this.letters);
    this.details.addEventListener("toggle", () => this.details.open && this.load());
    this.redrive = button("Redrive", () => this.redriveAll());
    this.drop = button("Drop", () => this.view.drop({ group: this.group.id }, this.group.count), ".plain");
    this.element = h(
      "section.panel",
      {},
      this.head,
      h("div.actions", {}, this.redrive, this.drop),
      this.details,
    );
  }

  show(group) {
    this.group = group;
    const sink = group.sink ?? "quarantine";
    this.element.setAttribute("aria-label", `${sink}: ${words(group.reason)}`);
    fill(
      this.head,
      h(
        "div.panel-head",
        {},
        h(
          "h2",
          {},
          `${sink}: ${words(group.reason)}`,
          group.type ? h("span.quiet", {}, ` ${group.type}`) : "",
        ),
        h("p", {}, h("strong", {}, counted(group.count, "dead letter")), `, ${bytes(group.bytes)}`),
      ),
      group.detail ? h("p", {}, group.detail) : "",
      h("p.quiet", {}, `first ${ago(group.first)}, last ${ago(group.last)}`),
    );
    fill(this.redrive, `Redrive ${count(group.count)}`);
    fill(this.drop, `Drop ${count(group.count)}`);
  }

  redriveAll() {
    const { group } = this;
    const what = group.sink ? `to ${group.sink} alone` : "as if they had just arrived";
    return this.view.redrive({ group: group.id }, what);
  }

  async load() {
    try {
      const { signal } = this.view.context;
      const letters = items(await get(`/dead${query({ group: this.group.id, limit: SHOWN })}`, { signal }));
      fill(
        this.letters,
        table("Dead letters", this.columns(letters.some(({ event_type: type }) => type)), letters),
      );
    } catch (error) {
      fill(this.letters, h("p.note", {}, error.message));
    }
  }

  columns(hasTypes) {
    const one = (letter) =>
      h(
        "div.actions",
        {},
        button("Show", () => this.showLetter(letter), ".plain"),
        button("Redrive", () => this.view.redrive({ ids: [letter.id] }, "to its sink alone"), ".plain"),
        button("Drop", () => this.view.drop({ ids: [letter.id] }, 1), ".plain"),
      );
    return [
      { title: "Number", number: true, cell: ({ id }) => count(id) },
      ...(hasTypes ? [{ title: "Type", cell: ({ event_type: type }) => type ?? "" }] : []),
      { title: "Detail", class: ".wide", cell: ({ detail }) => detail ?? "" },
      { title: "Attempts", number: true, cell: ({ attempts }) => count(attempts) },
      {
        title: "Last tried",
        number: true,
        cell: ({ last }) => ago(last),
      },
      { title: "Actions", cell: one },
    ];
  }

  /** Shows a letter; its body only where bodies may be shown, because a screen is looked at by others. */
  async showLetter(letter) {
    const { signal } = this.view.context;
    try {
      const { data, data_base64: encoded, ...rest } = await get(`/dead/${letter.id}`, { signal });
      const isShown = await showsPayloads(signal);
      const document = isShown ? { ...rest, data, data_base64: encoded } : rest;
      this.payload ??= h("div");
      fill(
        this.payload,
        h(
          "pre.payload",
          { tabindex: "0", role: "region", "aria-label": `Dead letter ${letter.id}` },
          JSON.stringify(document, null, 2),
        ),
        isShown
          ? ""
          : h(
              "p.quiet",
              {},
              `Its body: fanbridge dead show ${letter.id}; here it is shown where `,
              h("code", {}, "admin.show_payloads: true"),
              " is set.",
            ),
      );
      this.letters.append(this.payload);
    } catch (error) {
      fill(this.view.said, error.message);
    }
  }
}

/** Whether bodies may be shown on a screen; not, if the bridge does not say so. */
async function showsPayloads(signal) {
  try {
    return (await get("/configuration", { signal })).values.admin?.show_payloads === true;
  } catch {
    return false;
  }
}
