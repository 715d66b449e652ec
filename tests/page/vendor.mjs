// Copies the charting library of the page from its package: `npm run vendor`. What is committed is what the
// package has, and `npm ci` has checked the package against the digest in `package-lock.json`.

import { copyFileSync, readFileSync } from "node:fs";

const page = new URL("../../src/admin/page/vendor/", import.meta.url);
const library = new URL("node_modules/uplot/", import.meta.url);

/** Each file in the page, and where the package has it. */
const FILES = {
  "uPlot.iife.min.js": "dist/uPlot.iife.min.js",
  "uPlot.min.css": "dist/uPlot.min.css",
  "uPlot.LICENSE": "LICENSE",
};

/** The files of the page that are not those of the package. */
export function differing() {
  return Object.entries(FILES)
    .filter(
      ([ours, theirs]) => !readFileSync(new URL(ours, page)).equals(readFileSync(new URL(theirs, library))),
    )
    .map(([ours]) => ours);
}

if (import.meta.url === `file://${process.argv[1]}`) {
  for (const [ours, theirs] of Object.entries(FILES))
    copyFileSync(new URL(theirs, library), new URL(ours, page));
}
