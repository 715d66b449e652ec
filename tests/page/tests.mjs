// What is tried, by its name.

import * as events from "./events.mjs";
import * as frame from "./frame.mjs";
import * as views from "./views.mjs";

export const tests = { ...frame.tests, ...events.tests, ...views.tests };
