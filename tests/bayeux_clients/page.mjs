/** Drives stock clients in a page: `await window.driver.answer(call)`. Faye's script is in it already. */

import * as cometd from "../node_modules/cometd/cometd.js";
import { makeCometd } from "./cometd.mjs";
import { Driver } from "./driver.mjs";
import { makeFaye } from "./faye.mjs";

window.driver = new Driver({ cometd: makeCometd(cometd), faye: makeFaye(window.Faye) });
