// The events: live, filtered, explained, as text, and many.

import assert from "node:assert/strict";
import { event, until } from "./bridge.mjs";
import { violations } from "./frame.mjs";

const rows = (page) => page.$$eval(".grid-canvas .grid-row", (found) => found.map((row) => row.textContent));
const rowCount = async (page) => Number(await page.getAttribute(".grid", "aria-rowcount")) - 1;

/** The events, as soon as they are live. */
async function openEvents(open, path = "/#/events", options = {}) {
  const page = await open({ path, ...options });
  await page.waitForSelector(".live-state .good");
  return page;
}

export const tests = {
  async live_events_appear_with_what_became_of_them({ home, open }) {
    home.configure();
    await home.start();
    const page = await openEvents(open);
    assert.match(await page.textContent(".grid-frame"), /No event yet/);
    await home.deliver(event("call.created", 1));
    await until("the event is published", async () =>
      (await rows(page)).some((row) => /call\.created.*lake @0/.test(row)),
    );
    await home.deliver(event("call.created", 1));
    await home.deliver({ type: "call.created" }, { "x-signature": "00" });
    await until("the refusal", async () =>
      (await rows(page)).some((row) => /refused.*401 malformed signature/.test(row)),
    );
    const all = await rows(page);
    assert.ok(
      all.some((row) => /duplicate/.test(row)),
      all.join("\n"),
    );
    assert.equal(await rowCount(page), 3);
  },

  async filters_choose_and_stay_in_the_address({ home, open }) {
    home.configure();
    await home.start();
    await home.deliverMany("call.created", 3);
    await home.deliverMany("call.ended", 2, 100);
    await home.deliver({ type: "call.created" }, { "x-signature": "00" });
    const page = await openEvents(open);
    await until("six rows", async () => (await rowCount(page)) === 6);
    await page.getByLabel("Type").fill("call.ended");
    await until("two rows", async () => (await rowCount(page)) === 2);
    assert.match(page.url(), /type=call\.ended/);
    await home.deliver(event("call.ended", 300));
    await home.deliver(event("call.created", 301));
    await until("one more", async () => (await rowCount(page)) === 3);
    await page.getByLabel("Type").fill("");
    await page.getByLabel("failed only").check();
    await until("the refusal alone", async () => (await rowCount(page)) === 1);
    assert.match((await rows(page))[0], /refused/);
    await page.getByLabel("failed only").uncheck();
    await page.getByLabel("Verdict").selectOption("accepted");
    await until("the accepted ones", async () => (await rowCount(page)) === 7);
    const again = await openEvents(open, `/${new URL(page.url()).hash}`);
    assert.equal(await again.getByLabel("Verdict").inputValue(), "accepted");
    await until("the same", async () => (await rowCount(again)) === 7);
    await page.getByLabel("Type").fill("nobody.sends.this");
    await until("none", async () => /No step passes/.test(await page.textContent(".grid-frame")));
  },

  async a_row_opens_the_timeline_of_its_event({ home, open }) {
    home.configure();
    await home.start();
    await home.deliver(event("call.created", 7));
    const page = await openEvents(open);
    await until("the event", async () => (await rowCount(page)) === 1);
    await page.click(".grid-canvas .grid-row");
    await page.waitForSelector(".detail .cause");
    const text = await page.textContent(".detail");
    assert.match(text, /delivered to lake/);
    assert.match(text, /accepted by stream-video: all, position 1/);
    assert.match(text, /published to lake: stream\.video\.call-lifecycle 00000001\.jsonl@0/);
    assert.match(text, /default:call-7/);
    assert.deepEqual(await violations(page), []);
    await page.getByRole("button", { name: "Close the event" }).click();
    await page.waitForSelector(".detail", { state: "hidden" });
  },

  async a_refusal_says_why_and_shows_no_value_of_its_signature({ home, open }) {
    home.configure();
    await home.start();
    await home.deliver(event("call.created", 1), { "x-signature": "5ec2e7".repeat(10) + "0000" });
    const page = await openEvents(open);
    await until("the refusal", async () => (await rowCount(page)) === 1);
    await page.click(".grid-canvas .grid-row");
    await page
      .locator(".detail .cause")
      .getByText(/refused with 401/)
      .waitFor();
    const text = await page.textContent(".detail");
    assert.match(text, /x-signature/);
    assert.ok(!text.includes("5ec2e7"));
    assert.deepEqual(await violations(page), []);
  },

  async the_list_stands_still_while_it_is_paused_and_goes_on_without_a_gap({ home, open }) {
    home.configure();
    await home.start();
    const page = await openEvents(open);
    await home.deliverMany("call.created", 2);
    await until("two rows", async () => (await rowCount(page)) === 2);
    await page.getByRole("button", { name: "Pause" }).click();
    await home.deliverMany("call.created", 5, 50);
    await page.getByRole("button", { name: /Go on \(\d+\)/ }).waitFor();
    assert.equal(await rowCount(page), 2);
    await page.getByRole("button", { name: /Go on/ }).click();
    await until("seven rows", async () => (await rowCount(page)) === 7);
  },

  async markup_and_escape_sequences_of_a_sender_are_text({ home, open }) {
    home.configure();
    await home.start();
    const type = "<script>alert(1)</script><img src=x onerror=alert(2)>";
    await home.deliver({ ...event(type, 1), call_cid: "default:\u001b[31mred\u202e" });
    const page = await openEvents(open);
    await until("the event", async () => (await rowCount(page)) === 1);
    assert.match((await rows(page))[0], /<script>alert\(1\)<\/script>/);
    await page.click(".grid-canvas .grid-row");
    await page.waitForSelector(".detail .timeline li");
    const text = await until("the explanation", async () => {
      const said = await page.textContent(".detail");
      return said.includes("Attributes") && said;
    });
    assert.ok(!/[\u001b\u202e]/.test(text), "control characters are shown, not obeyed");
    assert.equal(await page.$$eval("main script, main img", (found) => found.length), 0);
    await page.goto(`${home.origin}/#/flow`);
    await page.waitForTimeout(500);
    assert.deepEqual(await page.violations(), []);
  },

  async a_body_is_shown_as_text_where_that_is_allowed_and_else_what_to_set({ home, open }) {
    for (const [number, admin] of ["", "show_payloads: true"].entries()) {
      home.configure({ admin });
      await home.start();
      await home.deliver({
        ...event("call.created", number),
        text: "<img src=x onerror=alert(1)>\u001b[31m",
      });
      const page = await openEvents(open);
      await until("the event", async () => (await rowCount(page)) === 1);
      await page.click(".grid-canvas .grid-row");
      await page.getByRole("button", { name: "Show it" }).click();
      if (admin) await page.locator(".payload").getByText("<img src=x onerror=alert(1)>").waitFor();
      else await page.getByText("set `admin.show_payloads: true`").waitFor();
      const text = await page.textContent(".detail");
      assert.equal(text.includes("onerror"), admin !== "");
      assert.ok(!text.includes("\u001b"));
      assert.equal(await page.$$eval("main img", (found) => found.length), 0);
      assert.deepEqual(await violations(page), []);
      await home.stop();
    }
  },

  async a_restart_of_the_bridge_is_followed_and_said({ home, open }) {
    home.configure();
    await home.start();
    const page = await openEvents(open);
    await home.deliver(event("call.created", 1));
    await until("one row", async () => (await rowCount(page)) === 1);
    await home.stop();
    await until("it is said", async () => /not connected/.test(await page.textContent(".live-state")));
    await home.start();
    await page.waitForSelector(".live-state .good", { timeout: 30_000 });
    await home.deliver(event("call.created", 2));
    await until("the next one", async () => (await rowCount(page)) === 2);
  },

  async ten_thousand_rows_stay_smooth({ home, open }) {
    home.configure();
    await home.start();
    const page = await openEvents(open);
    await page.evaluate(async () => {
      const { EventRows } = await import("/page/event_rows.js");
      const { COLUMNS } = await import("/page/event_cells.js");
      const { Grid } = await import("/page/grid.js");
      const rows = new EventRows();
      const step = (number) => ({
        number,
        step: "taken",
        verdict: "accepted",
        decided_by: "all",
        at: new Date(number * 1000).toISOString(),
        source: "stream-video",
        type: `call.type_${number % 40}`,
        id: `sha256-${String(number).padStart(64, "0")}`,
        position: number,
        taken_us: 900,
        selected_by: ["lake"],
      });
      rows.take(Array.from({ length: 10_000 }, (_, index) => step(index + 1)));
      const grid = new Grid({ label: "Many", columns: COLUMNS, rowHeight: () => 32, open: () => {} });
      document.querySelector(".grid-frame").replaceChildren(grid.element);
      grid.show(rows.newestFirst());
      Object.assign(window, { many: { rows, grid, step } });
    });
    assert.equal(await rowCount(page), 10_000);
    assert.ok(
      (await page.$$(".grid-canvas .grid-row")).length < 80,
      "only what is in sight is in the document",
    );
    const frames = await page.evaluate(async () => {
      const { rows, grid, step } = window.many;
      const taken = [];
      for (let round = 0; round < 60; round += 1) {
        grid.element.scrollTop = (round * 5417) % 300_000;
        const began = performance.now();
        const added = rows.take(Array.from({ length: 50 }, (_, index) => step(20_000 + round * 50 + index)));
        grid.show(rows.newestFirst(), added);
        // The work of the scripts and of the layout that they cause.
        void grid.element.offsetHeight;
        taken.push(performance.now() - began);
        await new Promise((done) => requestAnimationFrame(done));
      }
      return taken.sort((a, b) => a - b);
    });
    const middle = frames[Math.floor(frames.length / 2)];
    console.log(
      `  a frame of 10,000 rows with 50 new ones takes ${middle.toFixed(1)} ms, at most ${frames.at(-1).toFixed(1)}`,
    );
    assert.ok(middle < 50, `a frame takes ${middle} ms`);
  },
};
