// Tries the admin page in a real browser, and exports of types in the tools that read them:
// `node tests/page/run.mjs [a part of a test's name]`. The browser is the system's Chromium, or the one at
// CHROMIUM. Prints what `cargo test` prints.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import { Home } from "./bridge.mjs";
import { tests } from "./tests.mjs";

const BROWSERS = [
  process.env.CHROMIUM,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];
const TEST_DEADLINE_MS = 120_000;

const executablePath = BROWSERS.find((path) => path && existsSync(path));
if (!executablePath) {
  console.error("no browser was found: run `tests/servers/install.sh page`, or set CHROMIUM to its path");
  process.exit(process.env.FANBRIDGE_TEST_SERVERS === "required" ? 1 : 0);
}

const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
const browser = await chromium.launch({ executablePath, args });
const wanted = process.argv[2] ?? "";
const chosen = Object.entries(tests).filter(([name]) => name.includes(wanted));
const failures = [];

console.log(`running ${chosen.length} tests in ${browser.version()}`);
for (const [name, test] of chosen) {
  const home = await Home.new();
  const opened = [];
  const open = async (options = {}) => {
    const page = await watched(browser, home, options);
    opened.push(page);
    return page;
  };
  try {
    await within(test({ home, open }), TEST_DEADLINE_MS);
    for (const page of opened) page.check();
    console.log(`test ${name} ... ok`);
  } catch (error) {
    console.log(`test ${name} ... FAILED\n${error.stack}\n${home.log()}`);
    failures.push(name);
  } finally {
    for (const page of opened) await page.context().close();
    await home.end();
  }
}
await browser.close();

if (failures.length > 0) console.log(`\nfailures:\n${failures.map((name) => `    ${name}`).join("\n")}\n`);
const passed = chosen.length - failures.length;
const word = failures.length > 0 ? "FAILED" : "ok";
console.log(`test result: ${word}. ${passed} passed; ${failures.length} failed`);
process.exit(failures.length > 0 ? 1 : 0);

function within(work, milliseconds) {
  const late = new Promise((_, failed) => {
    setTimeout(() => failed(new Error(`the test took longer than ${milliseconds} ms`)), milliseconds).unref();
  });
  return Promise.race([work, late]);
}

/** A page that notes whatever it must never do: `check` throws if it has. */
async function watched(browser, home, { path = "/", width = 1280, height = 800, dark = false } = {}) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
    permissions: [],
  });
  const page = await context.newPage();
  const wrong = [];
  page.requests = [];
  // What a test does on purpose.
  page.faults = [];
  page.on("request", (request) => {
    page.requests.push(request.url());
    if (!request.url().startsWith(`${home.origin}/`)) wrong.push(`asks ${request.url()}`);
  });
  page.on("websocket", (socket) => wrong.push(`opens ${socket.url()}`));
  page.on("pageerror", (error) => wrong.push(`throws ${error.message}`));
  page.on("dialog", (dialog) => {
    wrong.push(`shows ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on("console", (message) => {
    if (/Content.Security.Policy|TrustedHTML|Refused to/i.test(message.text())) wrong.push(message.text());
  });
  await page.addInitScript(() => {
    window.violations = [];
    addEventListener("securitypolicyviolation", (event) => {
      window.violations.push(`${event.violatedDirective} ${event.blockedURI}`);
    });
  });
  page.violations = () => page.evaluate(() => window.violations);
  page.check = () => {
    const kept = wrong.filter((text) => !page.faults.some((fault) => text.includes(fault)));
    if (kept.length > 0) throw new Error(`the page does what it must not: ${kept.join("; ")}`);
  };
  await page.goto(`${home.origin}${path}`);
  return page;
}
