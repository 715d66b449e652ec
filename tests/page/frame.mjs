// The frame of the page: where it is, who may ask for it, what it may do, and how it is used without a mouse.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { until } from "./bridge.mjs";
import { differing } from "./vendor.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What axe-core finds on the page as it is now. */
export async function violations(page) {
  // Through the debugger and not as a script of the page, whose policy forbids it.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

/** The views, by the names in their addresses. */
export const viewsOf = (page) =>
  page.$$eval("#tabs a", (links) => links.map((link) => link.getAttribute("href").slice(2)));

export const tests = {
  async the_bare_admin_port_leads_to_the_page_and_says_how_things_are({ home, open }) {
    home.configure();
    await home.start();
    const page = await open();
    await until("the sentence", async () => /accept|up to date/i.test(await page.textContent("#sentence")));
    assert.equal(await page.title(), "Flow · fanbridge");
    await page.getByRole("link", { name: "Events" }).click();
    await until("the title", async () => (await page.title()) === "Events · fanbridge");
    await home.stop();
    await until("the end is seen", async () => /does not answer/.test(await page.textContent("#sentence")));
  },

  async nothing_leaves_the_origin_and_the_policy_holds({ home, open }) {
    home.configure();
    await home.start();
    await home.deliverMany("call.created", 5);
    const page = await open();
    for (const view of await viewsOf(page)) {
      await page.goto(`${home.origin}/#/${view}`);
      await page.waitForTimeout(300);
    }
    assert.ok(page.requests.length > 10);
    assert.deepEqual(await page.violations(), []);
    page.check();
    page.faults.push("TrustedHTML", "127.0.0.1:9");
    // The policy is there: what it forbids does not happen, and is told of.
    const forbidden = await page.evaluate(() => {
      try {
        document.body["inner" + "HTML"] = "<b>markup</b>";
        return "made";
      } catch (error) {
        return error.name;
      }
    });
    assert.equal(forbidden, "TypeError");
    await page.evaluate(() => fetch("http://127.0.0.1:9/").catch(() => {}));
    const told = await until("a violation", async () =>
      (await page.violations()).find((text) => /connect-src/.test(text)),
    );
    assert.ok(told);
  },

  async a_page_of_another_name_is_not_served({ home }) {
    home.configure();
    await home.start();
    const { request } = await import("node:http");
    const status = (headers) =>
      new Promise((done, failed) => {
        const asked = request({ host: "127.0.0.1", port: home.admin, path: "/", headers }, (answer) => {
          answer.resume();
          done(answer.statusCode);
        });
        asked.on("error", failed).end();
      });
    assert.equal(await status({ host: "localhost" }), 200);
    assert.equal(await status({ host: "rebound.example" }), 421);
  },

  async the_token_is_asked_for_and_stays_in_its_tab({ home, open }) {
    home.configure({ admin: "token: env:ADMIN_TOKEN" });
    await home.start();
    const page = await open();
    await page.locator("#token-field").fill("a-token-of-the-tests-0001");
    await page.keyboard.press("Enter");
    await until("the sentence", async () => /accept|up to date/i.test(await page.textContent("#sentence")));
    assert.equal(await page.evaluate(() => JSON.stringify(localStorage)), "{}");
    assert.equal(await page.evaluate(() => document.cookie), "");
    assert.ok(!page.requests.some((url) => url.includes("a-token-of-the-tests")));
    await page.goto(`${home.origin}/#/events`);
    await until("the events are live", async () => /live/.test(await page.textContent(".live-state")));
  },

  async the_keyboard_is_enough({ home, open }) {
    home.configure();
    await home.start();
    await home.deliverMany("call.created", 3);
    const page = await open();
    await page.keyboard.press("2");
    await until("the events", async () => (await page.title()) === "Events · fanbridge");
    await page.waitForSelector(".grid-canvas .grid-row");
    await page.keyboard.press("/");
    assert.equal(await page.evaluate(() => document.activeElement.name), "type");
    await page.keyboard.type("call.created");
    await page.keyboard.press("Escape");
    await page.waitForSelector(".live-state .good");
    for (let steps = 0; steps < 40; steps += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate(() => document.activeElement.getAttribute("role") === "grid")) break;
    }
    await page.keyboard.press("ArrowDown");
    assert.match(await page.getAttribute(".grid", "aria-activedescendant"), /^row-/);
    await page.keyboard.press("Enter");
    await page.waitForSelector(".detail .timeline li");
    assert.equal(await page.evaluate(() => document.activeElement.id), "detail-title");
    await page.keyboard.press("Escape");
    await page.waitForSelector(".detail", { state: "hidden" });
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute("role")), "grid");
    await page.keyboard.press("?");
    await page.waitForSelector("dialog[open]");
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog[open]", { state: "detached" });
    await page.keyboard.press("1");
    await until("the flow", async () => (await page.title()) === "Flow · fanbridge");
  },

  async no_view_has_a_violation_that_axe_finds_in_light_dark_and_narrow({ home, open }) {
    home.configure();
    await home.start();
    await home.deliverMany("call.created", 20);
    await home.deliver({ type: "call.created" }, { "x-signature": "00" });
    for (const options of [{}, { dark: true }, { width: 390, height: 844 }]) {
      const page = await open(options);
      for (const view of await viewsOf(page)) {
        await page.goto(`${home.origin}/#/${view}`);
        await page.waitForTimeout(900);
        assert.deepEqual(await violations(page), [], `${view} ${JSON.stringify(options)}`);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${view} is ${wide} pixels wider than the window of ${JSON.stringify(options)}`);
      }
    }
  },

  async the_library_is_that_of_its_package() {
    assert.deepEqual(differing(), []);
  },
};
