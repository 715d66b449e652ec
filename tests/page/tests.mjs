// What is tried, by its name.

import * as asyncapi from "./asyncapi.mjs";
import * as eventcatalog from "./eventcatalog.mjs";
import * as events from "./events.mjs";
import * as frame from "./frame.mjs";
import * as views from "./views.mjs";

const ofPage = { ...frame.tests, ...events.tests, ...views.tests };

export const tests = { ...ofPage, ...asyncapi.tests, ...eventcatalog.tests };
