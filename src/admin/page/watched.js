// Looks at a route again and again, and says plainly if the bridge does not have it.

import { Absent, get } from "./api.js";
import { fill, h, nothing } from "./dom.js";

/**
 * Calls `show(answer)` with each answer of `path`. `what` names what a bridge without it does not offer;
 * `absent` is then called. Returns a function that looks at once.
 */
export function watch(root, context, { path, what, seconds = 2, show, absent: gone }) {
  const failure = h("div", { hidden: true });
  root.append(failure);
  let isAbsent = false;
  const look = async () => {
    if (isAbsent) return;
    try {
      const answer = await get(path, { signal: context.signal });
      failure.hidden = true;
      show(answer);
    } catch (error) {
      if (context.signal.aborted) return;
      isAbsent = error instanceof Absent;
      failure.hidden = false;
      if (isAbsent) gone?.();
      fill(failure, isAbsent ? absent(what) : h("p.note", {}, error.message));
    }
  };
  context.every(seconds, look);
  return look;
}

export const absent = (what) =>
  h(
    "div.panel",
    {},
    nothing(`This bridge does not offer ${what}.`, "It is older than this page, or was built without it."),
  );
