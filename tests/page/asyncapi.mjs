// What `fanbridge types export` prints, read by the parser of AsyncAPI itself.

import assert from "node:assert/strict";
import { Parser } from "@asyncapi/parser";
import { event, until } from "./bridge.mjs";

const SINKS = (home) =>
  `  lake: { file: { dir: ${home.path("topics")} } }\n` +
  `  headers: { kafka: { brokers: "127.0.0.1:1" } }\n` +
  `  documents: { select: [call.created], kafka: { brokers: "127.0.0.1:1", structured: true } }\n`;
/** Severity of an error; there are warnings, too. */
const ERROR = 0;

export const tests = {
  async the_exported_asyncapi_document_is_accepted_by_its_own_parser({ home }) {
    home.configure({ sinks: SINKS(home) });
    const without = home.verb("types", "export", "--format", "asyncapi");
    await home.start();
    await home.deliver(event("call.created", 1));
    await home.deliver({ ...event("orders/create me", 2), extra: { "jane@example.com": [1, "x", null] } });
    const known = await until("a shape is exported", () => {
      const exported = home.verb("types", "export", "--format", "asyncapi");
      return exported.includes('"call_cid"') && exported.includes('"extra"') ? exported : undefined;
    });
    for (const text of [without, known]) {
      const { document, diagnostics } = await new Parser().parse(text);
      const errors = diagnostics.filter(({ severity }) => severity === ERROR);
      assert.deepEqual(
        errors.map(({ path, message }) => `${path.join(".")}: ${message}`),
        [],
      );
      assert.equal(document.version(), "3.0.0");
      assert.ok(document.channels().length > 3 && document.messages().length > 3);
    }
    assert.ok(!known.includes("jane"));
  },
};
