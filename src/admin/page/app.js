// The frame of the page: the sentence on top, the views, keys, the token and questions.

import { access, pause, token } from "./api.js";
import { append, fill, h, say } from "./dom.js";
import * as configuration from "./configuration.js";
import * as dead from "./dead.js";
import * as events from "./events.js";
import * as flow from "./flow.js";
import * as replays from "./replays.js";
import * as sinks from "./sinks.js";
import * as sources from "./sources.js";
import * as spool from "./spool.js";
import * as types from "./types.js";
import { watchStatus } from "./status.js";

const VIEWS = { flow, events, sinks, types, dead, replays, spool, sources, configuration };
const NARROW = matchMedia("(max-width: 719px)");

const main = document.getElementById("main");
let ended = () => {};
let keys = {};

/** What a view gets: its parameters, its end, and what it can ask of the frame. */
function context(name, parameters, controller) {
  return {
    parameters,
    signal: controller.signal,
    isNarrow: () => NARROW.matches,
    confirm,
    question,
    keys: (more) => {
      keys = more;
    },
    status,
    remember: (values) => {
      const kept = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ""));
      const hash = `#/${name}${kept.size > 0 ? `?${kept}` : ""}`;
      if (location.hash !== hash) history.replaceState(null, "", hash);
    },
    /** Calls `look` now and again every so many seconds, as long as the view is there and in sight. */
    every: (seconds, look) => every(seconds, look, controller.signal),
  };
}

async function every(seconds, look, signal) {
  while (!signal.aborted) {
    if (!document.hidden) await look();
    await pause(seconds * 1000, signal);
  }
}

function route() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  const name = Object.hasOwn(VIEWS, path) ? path : "flow";
  ended();
  keys = {};
  const controller = new AbortController();
  const view = VIEWS[name];
  document.title = `${view.title} · fanbridge`;
  for (const link of document.querySelectorAll("#tabs a")) {
    const isHere = link.dataset.view === name;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (isHere) link.scrollIntoView({ block: "nearest", inline: "center" });
  }
  const root = h("div.view", {}, h("h1.unseen", {}, view.title));
  fill(main, root);
  const unmount = view.mount(root, context(name, new URLSearchParams(search), controller));
  ended = () => {
    controller.abort();
    unmount?.();
  };
}

function tabs() {
  const list = document.getElementById("tabs");
  append(
    list,
    Object.entries(VIEWS).map(([name, view], index) =>
      h(
        "li",
        {},
        h(
          "a",
          { href: `#/${name}`, "data-view": name, "aria-keyshortcuts": String(index + 1) },
          view.title,
          h("span.count", { hidden: true }),
        ),
      ),
    ),
  );
}

/** Asks before something is changed; true if it is to be. */
const confirm = async (title, text, label, danger) =>
  (await question({ title, text, label, danger })) !== null;

/**
 * Asks a question with fields `{ name, label, value, hint, required }`; their values, or `null` if it is
 * left.
 */
function question({ title, text, label, danger = false, fields = [] }) {
  const inputs = fields.map((field) =>
    h("input", {
      name: field.name,
      value: field.value ?? "",
      placeholder: field.hint,
      required: field.required,
      autocomplete: "off",
    }),
  );
  const labelled = fields.map((field, index) =>
    h("label.field", {}, h("span", {}, field.label), inputs[index]),
  );
  const leave = h("button.plain", { value: "no", type: "button" }, "Leave it");
  const dialog = h(
    "dialog",
    { "aria-labelledby": "ask-title" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id: "ask-title" }, title),
      text ? h("p", {}, text) : "",
      labelled,
      h(
        "div.actions",
        {},
        leave,
        h(`button${danger ? ".danger" : ""}`, { value: "yes", type: "submit" }, label),
      ),
    ),
  );
  leave.addEventListener("click", () => dialog.close("no"));
  return new Promise((done) => {
    const values = () => Object.fromEntries(inputs.map((input) => [input.name, input.value.trim()]));
    open(dialog, (answer) => done(answer === "yes" ? values() : null));
  });
}

function open(dialog, closed) {
  // Sending a form is forbidden by the page's policy, also one that only closes a dialog.
  dialog.addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close(event.submitter?.value ?? "");
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed?.(dialog.returnValue);
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

function askToken() {
  if (document.getElementById("token-dialog")) return;
  const field = h("input", { type: "password", id: "token-field", autocomplete: "off", spellcheck: "false" });
  const dialog = h(
    "dialog",
    { id: "token-dialog", "aria-labelledby": "token-title" },
    h(
      "form",
      { method: "dialog" },
      h("h2", { id: "token-title" }, "This bridge asks for its token"),
      h(
        "p",
        {},
        "It is what ",
        h("code", {}, "admin.token"),
        " refers to. It stays in this tab, until the tab is " + "closed, and is sent to this bridge only.",
      ),
      h("label.field", { for: "token-field" }, h("span", {}, "Token"), field),
      h("div.actions", {}, h("button", { value: "yes", type: "submit" }, "Use it")),
    ),
  );
  open(dialog, (answer) => {
    if (answer !== "yes" || field.value === "") return;
    token.set(field.value);
    route();
  });
}

function showKeys() {
  const rows = [
    ["1 to 9", "a view, in the order of the tabs"],
    ["/", "the filter of the events"],
    ["p", "pause the events, and go on"],
    ["↑ ↓ PgUp PgDn Home End", "choose an event in the list"],
    ["Enter", "its timeline"],
    ["Esc", "close it"],
    ["?", "these keys"],
  ];
  open(
    h(
      "dialog",
      { "aria-labelledby": "keys-title" },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: "keys-title" }, "Keys"),
        h(
          "dl.facts",
          {},
          rows.map(([key, does]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, does))),
        ),
        h("div.actions", {}, h("button", { type: "submit" }, "Close")),
      ),
    ),
  );
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, textarea, dialog")) {
    if (event.key === "Escape" && !event.target.closest("dialog")) event.target.blur();
    return;
  }
  const views = Object.keys(VIEWS);
  if (/^[1-9]$/.test(event.key) && views[event.key - 1]) location.hash = `#/${views[event.key - 1]}`;
  else if (event.key === "?") showKeys();
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
}

function theme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const show = () => say(button, `Theme: ${root.dataset.theme ?? "system"}`);
  button.addEventListener("click", () => {
    const next = { undefined: "light", light: "dark", dark: undefined }[root.dataset.theme];
    if (next) {
      root.dataset.theme = next;
      localStorage.setItem("fanbridge.theme", next);
    } else {
      delete root.dataset.theme;
      localStorage.removeItem("fanbridge.theme");
    }
    show();
    dispatchEvent(new Event("themechange"));
  });
  show();
}

tabs();
theme();
access.addEventListener("needed", askToken);
addEventListener("hashchange", route);
document.addEventListener("keydown", onKey);
document.getElementById("keys").addEventListener("click", showKeys);
const status = watchStatus((seconds, look) => every(seconds, look, new AbortController().signal));
route();
