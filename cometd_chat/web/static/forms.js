// @ts-check
/** The small forms at the side: what is refused is said in them, with what would do instead. */

import { button } from "./page.js";

/** @typedef {{field: string, detail: string, instead?: string}} FieldError */

/**
 * Send a form by script, and leave it to the server where that fails to start.
 * @param {HTMLFormElement | null} form
 * @param {(fields: Record<string, string>) => Promise<void>} send rejected with a `Refusal`
 */
export function sendInPlace(form, send) {
  if (!form) return;
  const why = /** @type {HTMLElement} */ (form.querySelector(".refused"));
  const box = /** @type {HTMLInputElement} */ (form.querySelector("input[name=name]"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const fields = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value)]));
    const pressed = /** @type {HTMLButtonElement | null} */ (event.submitter);
    if (pressed?.name === "instead") fields.name = box.value = pressed.value;
    say();
    try {
      await send(fields);
    } catch (refusal) {
      const { detail, problem } = /** @type {{detail: string, problem?: {errors?: FieldError[]}}} */ (refusal);
      say(detail, problem?.errors?.find(({ instead }) => instead)?.instead);
      box.focus();
    }
  });

  /** @param {string} [words] @param {string} [instead] */
  function say(words = "", instead = "") {
    why.replaceChildren(words);
    why.hidden = !words;
    if (!instead) return;
    const take = button(`Take “${instead}”`, () => {
      box.value = instead;
      form?.requestSubmit();
    });
    why.append(take);
  }
}
