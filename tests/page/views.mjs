// The views that change something, and those that list.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { event, until } from "./bridge.mjs";
import { violations } from "./frame.mjs";

/** All lines that the file sink has written. */
function written(home) {
  const topics = home.path("topics");
  const files = readdirSync(topics, { recursive: true }).filter((name) => name.endsWith(".jsonl"));
  return files.flatMap((name) => readFileSync(join(topics, name), "utf8").split("\n").filter(Boolean));
}

/** A provider whose definition finds the type at `pointer`. */
const acme = (pointer) =>
  "providers:\n  acme:\n    signature: { scheme: hmac-sha256, header: x-signature }\n" +
  `    event: { type: { pointers: [${pointer}] }, id: [/id] }\n`;

const card = (page, name) => page.getByRole("region", { name: `Sink ${name}` });

export const tests = {
  async a_sink_is_paused_with_its_reason_and_resumed({ home, open }) {
    home.configure();
    await home.start();
    const page = await open({ path: "/#/sinks" });
    await card(page, "lake").getByRole("button", { name: "Pause" }).click();
    assert.deepEqual(await violations(page), [], "the question");
    await page.getByLabel(/Reason/).fill("new partitions");
    await page.keyboard.press("Enter");
    await card(page, "lake").getByText("new partitions").waitFor();
    await home.deliver(event("call.created", 1));
    const behind = card(page, "lake").locator("dd").nth(1);
    await until("it waits", async () => (await behind.textContent()).startsWith("1"));
    assert.deepEqual(written(home), []);
    await until("the sentence", async () => /paused/.test(await page.textContent("#sentence")));
    await card(page, "lake").getByRole("button", { name: "Resume" }).click();
    await until("it is published", () => written(home).length === 1);
    await card(page, "lake").getByText("up to date").waitFor();
  },

  async a_question_that_is_left_changes_nothing({ home, open }) {
    home.configure();
    await home.start();
    const page = await open({ path: "/#/sinks" });
    await card(page, "lake").getByRole("button", { name: "Pause" }).click();
    await page.getByRole("button", { name: "Leave it" }).click();
    await page.waitForSelector("dialog", { state: "detached" });
    const { items } = await (await fetch(`${home.origin}/api/v1/sinks`)).json();
    assert.equal(items[0].paused, undefined);
  },

  async a_dead_letter_is_shown_as_text_and_redriven({ home, open }) {
    const more = "  front: { provider: acme, secrets: [env:STREAM_SECRET] }\n";
    home.configure({ source: more, more: acme("/kind") });
    await home.start();
    const body = { id: "e1", event: "made.up", text: "<script>alert(1)</script>\u001b[31m" };
    assert.equal(await home.deliver(body, {}, "front"), 200);
    await home.stop();
    // The definition is corrected.
    home.configure({ source: more, more: acme("/event") });
    await home.start();
    const page = await open({ path: "/#/dead" });
    await page.getByRole("heading", { name: /quarantine: type/ }).waitFor();
    await page.getByText("Its letters").click();
    await page.getByRole("button", { name: "Show" }).click();
    await page.getByText("fanbridge dead show 1").waitFor();
    assert.ok(!(await page.textContent("main")).includes("<script>"), "the body is hidden");
    await home.stop();
    home.configure({ source: more, more: acme("/event"), admin: "show_payloads: true" });
    await home.start();
    await page.reload();
    await page.getByText("Its letters").click();
    await page.getByRole("button", { name: "Show" }).click();
    await until("the body", async () => /<script>alert/.test(await page.textContent(".payload")));
    assert.ok(!(await page.textContent(".payload")).includes("\u001b"));
    assert.deepEqual(await violations(page), []);
    await page.getByRole("button", { name: "Redrive 1" }).click();
    await page.getByRole("heading", { name: "Redrive 1 dead letter?" }).waitFor();
    await page.locator("dialog").getByRole("button", { name: "Redrive 1" }).click();
    await page.getByText("1 dead letter redriven.").waitFor();
    await page.getByText("No dead letter.").waitFor();
    await until("it is published", () => written(home).some((line) => line.includes("made.up")));
  },

  async a_replay_is_counted_started_and_watched_to_its_end({ home, open }) {
    home.configure();
    await home.start();
    await home.deliverMany("call.created", 30);
    await home.deliverMany("call.ended", 5, 100);
    await until("all are published", () => written(home).length === 35);
    const page = await open({ path: "/#/replays" });
    await page.getByText("No replay yet.").waitFor();
    await page.getByLabel("Types, comma between").fill("call.created");
    await page.getByLabel("At most a second").fill("20");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Send 30 events to lake again?" }).waitFor();
    await page.getByRole("button", { name: "Send 30" }).click();
    await page.locator("td").getByText("running").waitFor();
    await page.locator("td").getByText("done").waitFor({ timeout: 30_000 });
    assert.equal(written(home).length, 65);
    assert.equal(written(home).filter((line) => line.includes('"replayid"')).length, 30);
    assert.deepEqual(await violations(page), []);
  },

  async an_event_is_sent_again_from_its_timeline({ home, open }) {
    home.configure();
    await home.start();
    await home.deliver(event("call.created", 1));
    const page = await open({ path: "/#/events" });
    await page.click(".grid-canvas .grid-row");
    await page.getByRole("button", { name: "to lake" }).click();
    await page.getByRole("button", { name: "Send again" }).click();
    await until("it is there twice", () => written(home).length === 2);
  },

  async types_sources_spool_and_configuration_say_what_is({ home, open }) {
    home.configure();
    await home.start();
    await home.deliver(event("call.teleported", 1));
    await home.deliver({ type: "call.created" }, { "x-signature": "00" });
    const page = await open({ path: "/#/types" });
    await page.getByRole("link", { name: "call.teleported" }).waitFor();
    await page.goto(`${home.origin}/#/sources`);
    const source = page.getByRole("region", { name: "Source stream-video" });
    await source.getByText("malformed signature").waitFor();
    await source.getByText("env:STREAM_SECRET").waitFor();
    await page.goto(`${home.origin}/#/spool`);
    await page.getByRole("meter").waitFor();
    await page.goto(`${home.origin}/#/configuration`);
    await page.getByLabel("Find").fill("stream_secret");
    await page.getByRole("cell", { name: "[env:STREAM_SECRET]" }).waitFor();
    const text = await page.textContent("main");
    assert.match(text, /fanbridge\.yaml:\d+:\d+/);
    assert.ok(!text.includes("stream-signing-secret"), "the secret itself is nowhere");
  },

  async the_last_minutes_are_plotted({ home, open }) {
    home.configure();
    await home.start();
    const page = await open({ path: "/#/sources" });
    await home.deliverMany("call.created", 200);
    await until("a point", async () => {
      const { columns } = await (await fetch(`${home.origin}/api/v1/history`)).json();
      return columns.accepted.some((rate) => rate > 0);
    });
    await until(
      "it is drawn",
      async () => /accepted [\d.,]+\/s/.test(await page.textContent(".plots")),
      20_000,
    );
    assert.ok((await page.$$(".plots canvas")).length >= 2);
    assert.deepEqual(await violations(page), []);
  },

  async a_bridge_without_a_route_says_so_plainly({ home, open }) {
    home.configure();
    await home.start();
    const page = await open({ path: "/#/events" });
    const absent = {
      type: "about:blank",
      title: "Not Found",
      status: 404,
      detail: "there is nothing at this path",
    };
    await page.route(/\/api\/v1\/(sinks|types|dead|replays|spool|sources|configuration|history)/, (route) =>
      route.fulfill({ status: 404, contentType: "application/problem+json", body: JSON.stringify(absent) }),
    );
    for (const view of ["sinks", "types", "dead", "replays", "spool", "sources", "configuration"]) {
      await page.goto(`${home.origin}/#/${view}`);
      await page
        .getByText(/This bridge does not offer/)
        .first()
        .waitFor();
      assert.ok(!/Looking/.test(await page.textContent("main")), view);
    }
  },
};
