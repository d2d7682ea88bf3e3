/**
 * The oldest browsers in which each of the page's scripts has to work. It stands by itself: what
 * eslint.config.js needs beside it takes seconds to load.
 */

/** Of rows with the same file the last one counts. Names of browsers are those of the data. */
export const TABLE = [
  { files: ["*"], oldest: { chrome: 110, firefox: 115, safari: "16.0" } },
  {
    // The library, and with it the transports for the worst networks.
    files: ["choice", "comet", "transports", "election", "hints", "leader", "line", "outbox", "stream"],
    oldest: { chrome: 90, firefox: 96, safari: 15.4 },
  },
  // It looks first whether the browser has popovers, and does without where not.
  { files: ["popover"], oldest: { chrome: 114, firefox: 125, safari: "17.0" } },
  // It hears of touches where there is a screen to touch; Safari on a Mac knows none.
  { files: ["side"], oldest: { chrome: 110, firefox: 115, safari_ios: "16.0" } },
];
