// A table of many rows, of which only those in sight are in the document.
//
// Rows have one height, so that the place of each is known without measuring. New rows come at the top;
// whoever has scrolled down keeps what is in sight.

import { h } from "./dom.js";

const SPARE_ROWS = 8;

export class Grid {
  /**
   * `columns` are `{ title, name, fill(cell, row) }`; `open(row)` is called for a click or Enter;
   * `rowHeight()` is asked again when the window changes.
   */
  constructor({ label, columns, rowHeight, mark, open }) {
    Object.assign(this, { columns, rowHeight, mark, open });
    this.rows = [];
    this.active = null;
    this.pool = [];
    this.head = h(
      "div.grid-row.grid-head",
      { role: "row", "aria-rowindex": "1" },
      columns.map((column) => h(`div.cell.cell-${column.name}`, { role: "columnheader" }, column.title)),
    );
    this.canvas = h("div.grid-canvas", { role: "rowgroup" });
    this.element = h(
      "div.grid",
      { role: "grid", tabindex: "0", "aria-label": label },
      h("div.grid-top", { role: "rowgroup" }, this.head),
      this.canvas,
    );
    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.element);
  }

  /** Shows these rows, newest first; `added` of them are new at the top. */
  show(rows, added = 0) {
    this.rows = rows;
    const height = this.rowHeight();
    this.canvas.style.height = `${rows.length * height}px`;
    this.element.setAttribute("aria-rowcount", String(rows.length + 1));
    if (added > 0 && this.element.scrollTop > height / 2) this.element.scrollTop += added * height;
    this.draw();
  }

  get atTop() {
    return this.element.scrollTop <= this.rowHeight() / 2;
  }

  draw() {
    const height = this.rowHeight();
    this.canvas.style.height = `${this.rows.length * height}px`;
    const inSight = Math.ceil(this.element.clientHeight / height) + 2 * SPARE_ROWS;
    const first = Math.max(0, Math.floor(this.element.scrollTop / height) - SPARE_ROWS);
    const last = Math.min(this.rows.length, first + inSight);
    while (this.pool.length < last - first) this.pool.push(this.emptyRow());
    this.pool.forEach((drawn, place) => {
      const index = first + place;
      if (index >= last) drawn.element.remove();
      else this.put(drawn, index, height);
    });
    this.tellActive();
  }

  emptyRow() {
    const cells = this.columns.map((column) => h(`div.cell.cell-${column.name}`, { role: "gridcell" }));
    const element = h("div.grid-row", { role: "row" }, cells);
    return { element, cells, row: null, version: -1, index: -1 };
  }

  put(drawn, index, height) {
    const row = this.rows[index];
    if (!drawn.element.isConnected) this.canvas.append(drawn.element);
    if (drawn.index !== index || drawn.height !== height) {
      drawn.element.style.transform = `translateY(${index * height}px)`;
      drawn.element.setAttribute("aria-rowindex", String(index + 2));
      [drawn.index, drawn.height] = [index, height];
    }
    if (drawn.row !== row || drawn.version !== row.version) {
      this.columns.forEach((column, place) => column.fill(drawn.cells[place], row));
      drawn.element.id = `row-${row.number}`;
      [drawn.row, drawn.version] = [row, row.version];
    }
    const chosen = row === this.active;
    drawn.element.setAttribute("class", `grid-row${this.mark?.(row) ?? ""}${chosen ? " chosen" : ""}`);
    drawn.element.setAttribute("aria-selected", String(chosen));
  }

  tellActive() {
    const drawn =
      this.active && this.pool.find(({ row, element }) => row === this.active && element.isConnected);
    if (drawn) this.element.setAttribute("aria-activedescendant", drawn.element.id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const now = this.rows.indexOf(this.active);
    const page = Math.max(1, Math.floor(this.element.clientHeight / this.rowHeight()) - 2);
    const moves = {
      ArrowDown: now + 1,
      ArrowUp: now < 0 ? 0 : now - 1,
      Home: 0,
      End: this.rows.length - 1,
      PageDown: Math.max(now, 0) + page,
      PageUp: now - page,
    };
    if (event.key in moves) {
      event.preventDefault();
      this.choose(Math.min(Math.max(moves[event.key], 0), this.rows.length - 1));
    } else if (event.key === "Enter" && this.active) {
      event.preventDefault();
      this.open(this.active);
    }
  }

  choose(index) {
    if (index < 0) return;
    this.active = this.rows[index];
    const height = this.rowHeight();
    const [top, head] = [index * height, this.head.offsetHeight];
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + height + head > scrollTop + clientHeight) {
      this.element.scrollTop = top + height + head - clientHeight;
    }
    this.draw();
  }

  click(event) {
    const element = event.target.closest(".grid-row");
    const drawn = this.pool.find((candidate) => candidate.element === element);
    if (!drawn || String(document.getSelection())) return;
    this.active = drawn.row;
    this.draw();
    this.open(drawn.row);
  }

  end() {
    this.resized.disconnect();
  }
}
