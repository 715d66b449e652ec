// What is tried, by its name.

import * as events from "./events.mjs";
import * as frame from "./frame.mjs";

export const tests = { ...frame.tests, ...events.tests };
