// @ts-check
/** Addresses that are to be handed on: a button copies one. Without this script it is marked and copied by hand. */

import { button, copyText, rewrite } from "./page.js";

for (const shown of document.querySelectorAll(".shown-address")) {
  const address = /** @type {HTMLInputElement} */ (shown.querySelector("input"));
  address.addEventListener("focus", () => address.select());
  const copy = button("Copy", () => copyText(address.value).then(() => rewrite(copy, "Copied")));
  shown.append(copy);
}
