// What `fanbridge types export` writes for EventCatalog, read by EventCatalog's linter and by MDX itself.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { compile } from "@mdx-js/mdx";

const LINTER = fileURLToPath(
  new URL("node_modules/@eventcatalog/linter/dist/cli/index.js", import.meta.url),
);
/** Who owns an event, its readers say. */
const RULES = 'module.exports = { rules: { "best-practices/owner-required": "off" } };\n';
/** A type that tries to get out of wherever it stands. */
const WILD = '../../{evil()} <b>`x`</b> "y": [z](http://example.com) --- # é\u{1f600}';
/** A type with which a line would begin that is JavaScript. */
const MODULE = "export default evil";
const SOURCE = "  own: { provider: acme, secrets: [env:STREAM_SECRET] }\n";
const MORE =
  "providers:\n  acme:\n    signature: { scheme: hmac-sha256, header: x-signature }\n" +
  '    event: { type: { pointers: [/kind] }, key: ["/a {b}/id"] }\n' +
  `    families: { odd: { types: { ${JSON.stringify(WILD)}: {}, ${MODULE}: {}, plain: {} } } }\n`;

export const tests = {
  async an_exported_event_catalogue_passes_its_own_linter_and_every_page_is_mdx({ home }) {
    home.configure({ source: SOURCE, more: MORE });
    home.verb("types", "export", "--format", "eventcatalog", "--output", home.path("catalogue"));
    writeFileSync(home.path("catalogue/.eventcatalogrc.js"), RULES);
    const linted = spawnSync(process.execPath, [LINTER, "--fail-on-warning", home.path("catalogue")], {
      encoding: "utf8",
    });
    assert.equal(linted.status, 0, linted.stdout + linted.stderr);
    assert.match(linted.stdout, /\d{3} files checked/, linted.stdout + linted.stderr);

    const paths = readdirSync(home.path("catalogue"), { recursive: true });
    const pages = paths.filter((path) => path.endsWith(".mdx"));
    for (const path of pages) {
      const text = readFileSync(join(home.path("catalogue"), path), "utf8");
      const code = String(await compile(text.slice(text.indexOf("\n---\n") + 5)));
      // An expression would stand there without its braces, and an element would be declared.
      assert.ok(!/(?<!\{)evil\(\)|\b[ab]: "[ab]"/.test(code), `${path}: ${code}`);
    }
    assert.ok(pages.some((path) => path.includes("_x7b_evil")), "the wild one is among them");
  },
};
