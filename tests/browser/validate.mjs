// Whether pages are valid HTML: takes {name: page} as JSON on the standard input, prints what is wrong.
import { readFileSync } from "node:fs";
import { HtmlValidate } from "html-validate";

const validate = new HtmlValidate({ extends: ["html-validate:standard"] });
const pages = JSON.parse(readFileSync(0, "utf-8"));
const found = [];
for (const [name, page] of Object.entries(pages)) {
  const { results } = await validate.validateString(page);
  for (const { line, ruleId, message } of results.flatMap(({ messages }) => messages)) {
    found.push(`${name}, line ${line}: ${message} (${ruleId})`);
  }
}
console.log(JSON.stringify(found));
