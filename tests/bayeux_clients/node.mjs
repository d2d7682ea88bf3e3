// Drives stock clients in Node: reads a call a line from stdin, prints its answer, a line of JSON.
//
//   node node.mjs

import { createInterface } from "node:readline";
import * as cometd from "cometd";
import { adapt } from "cometd-nodejs-client";
import faye from "faye";
import { makeCometd } from "./cometd.mjs";
import { Driver } from "./driver.mjs";
import { makeFaye } from "./faye.mjs";

adapt();
const driver = new Driver({ cometd: makeCometd(cometd), faye: makeFaye(faye) });

const answer = async (line) => {
  const { id, ...call } = JSON.parse(line);
  try {
    return { id, result: (await driver.do(call)) ?? null };
  } catch (error) {
    return { id, error: `${error.stack}` };
  }
};

for await (const line of createInterface({ input: process.stdin })) {
  answer(line).then((said) => console.log(JSON.stringify(said)));
}
process.exit();
