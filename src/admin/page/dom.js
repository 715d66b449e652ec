// Makes elements. Text from outside becomes text nodes only: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("button.plain", { type: "button", on: { click } }, "Pause")`. */
export function h(name, props, ...children) {
  const [tag, ...classes] = name.split(".");
  return filled(document.createElement(tag), classes, props, children);
}

/** The same within an SVG drawing. */
export function svg(name, props, ...children) {
  const [tag, ...classes] = name.split(".");
  return filled(document.createElementNS(SVG, tag), classes, props, children);
}

function filled(element, classes, props, children) {
  if (classes.length > 0) element.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (key === "value" || key === "checked" || key === "disabled" || key === "hidden") {
      element[key] = value;
    } else {
      element.setAttribute(key, value === true ? "" : String(value));
    }
  }
  append(element, children);
  return element;
}

/** Appends texts and elements, lists of them too, and leaves out what is not there. */
export function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child);
    else if (child instanceof Node) element.append(child);
    else if (child !== undefined && child !== null && child !== false && child !== "") {
      element.append(document.createTextNode(shown(String(child))));
    }
  }
}

/** Replaces all that is in an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Sets the text of an element, if it is another one. */
export function say(element, text) {
  const safe = shown(String(text));
  if (element.textContent !== safe) element.textContent = safe;
}

// Control characters and those that turn the direction of writing would hide a part of a text.
const HIDDEN = new RegExp(
  "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u061c\\u200b-\\u200f\\u2028-\\u202e" +
    "\\u2066-\\u2069\\ufeff\\u{e0000}-\\u{e007f}]",
  "gu",
);

/** The text with every character visible that a terminal or a browser would obey. */
export function shown(text) {
  return text.replace(HIDDEN, (hidden) => `\\u${hidden.codePointAt(0).toString(16).padStart(4, "0")}`);
}

/** A state: its word, and beside the colour a glyph, so that nobody has to tell colours apart. */
export function badge(state, word) {
  const glyph = { good: "●", warn: "▲", bad: "✕", idle: "○", wait: "…" }[state] ?? "·";
  return h(`span.badge.${state}`, {}, h("span.glyph", { "aria-hidden": "true" }, glyph), word);
}

/** What stands where there is nothing yet, and what to do next. */
export function nothing(title, ...next) {
  return h("div.nothing", {}, h("p.nothing-title", {}, title), h("p", {}, next));
}

/** A list of names and values; what has no value is left out. */
export function facts(rows, kind = "") {
  const kept = rows.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return h(
    `dl.facts${kind}`,
    {},
    kept.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
  );
}

/** A table of few rows. A column is `{ title, cell(row), number, class }`. */
export function table(caption, columns, rows, rowClass) {
  const cell = (column, row) =>
    h(
      `td${column.number ? ".number" : ""}${column.class ?? ""}`,
      { "data-title": column.title },
      column.cell(row),
    );
  return h(
    `div.table-scroll${columns.length > 2 ? ".stack" : ""}`,
    { tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((column) =>
            h(`th${column.number ? ".number" : ""}${column.class ?? ""}`, { scope: "col" }, column.title),
          ),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) =>
          h(
            `tr${rowClass?.(row) ?? ""}`,
            {},
            columns.map((column) => cell(column, row)),
          ),
        ),
      ),
    ),
  );
}

/** A button that cannot be pressed again until what it began is over. */
export function button(label, action, kind = "") {
  const made = h(`button${kind}`, { type: "button" }, label);
  made.addEventListener("click", async () => {
    made.disabled = true;
    try {
      await action();
    } finally {
      made.disabled = false;
    }
  });
  return made;
}
